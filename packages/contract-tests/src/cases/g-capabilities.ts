/** G, I, Y2: what a transport lacks is refused by name. What it has is proved by cases that come with the feature. */
import assert from "node:assert/strict";
import { queue } from "@posthorn/core";
import type { ContractCase, SwitchableCapability } from "../case.ts";
import { workOf } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import { anything } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";

function unproved(capability: SwitchableCapability): Promise<never> {
  assert.fail(`The transport claims ${capability}, and this version of the suite has no cases that prove it.`);
}

export const capabilityCases: readonly ContractCase[] = [
  {
    id: "G1",
    title: "a delayed message is delivered when it is due, and not before",
    tier: "core",
    needs: "delayedDelivery",
    run: () => unproved("delayedDelivery"),
    inverse: {
      title: "notBefore fails with UNSUPPORTED_CAPABILITY, and nothing is sent",
      async run(world) {
        const contract = workOf(world.queue());
        const bus = world.bus("shop");
        bus.declare(contract);
        await bus.start();
        const error = await rejectsWith(
          "UNSUPPORTED_CAPABILITY",
          () => bus.send(contract, { n: 1 }, { notBefore: new Date(Date.now() + 60_000) }),
          "a delayed send",
        );
        assert.match(error.message, /delay|notBefore/i, "the message names what is not supported");
        await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      },
    },
  },
  {
    id: "I1",
    title: "messages of one key are handled one at a time, in the order in which they were published",
    tier: "core",
    needs: "ordering",
    run: () => unproved("ordering"),
    inverse: {
      title: "an ordered channel ends start with UNSUPPORTED_CAPABILITY, and nothing is made on the broker",
      async run(world) {
        const channel = queue(world.name(), { ordered: true });
        const contract = channel.command("work", { schema: anything<{ n: number }>(), key: String });
        const bus = world.bus("shop");
        bus.handle(contract, () => undefined);
        const error = await rejectsWith("UNSUPPORTED_CAPABILITY", () => bus.start(), "start with an ordered channel");
        assert.match(error.message, new RegExp(channel.name), "the message names the channel");
        assert.equal(await world.native.exists(inlet(channel)), false);
        assert.equal(bus.health().status, "closed", "a failed start closes the bus");
      },
    },
  },
];
