/** H: what goes back to the broker for its next attempt is never lost on the way. */
import assert from "node:assert/strict";
import type { ContractCase } from "../case.ts";
import { workOf } from "../contracts.ts";
import { durably } from "../durable.ts";
import type { Call } from "../recorder.ts";
import type { Numbered } from "../schema.ts";
import { deadLetters, inlet } from "../world.ts";
import { wrapTransport } from "../wrap-transport.ts";

const attemptsOf = (calls: readonly Call<Numbered>[]): number[] => calls.map(({ context }) => context.attempt);

export const nextAttemptCases: readonly ContractCase[] = [
  {
    id: "H2r",
    title:
      "when the connection breaks between the copy for the next attempt and the settlement, the message is handled, perhaps twice, and never lost",
    tier: "fault",
    needs: ["delayedDelivery"],
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const inner = link.openTransport();
      let breaks = 0;
      const transport = wrapTransport(inner, {
        async dispatch(batch, options) {
          const receipts = await inner.dispatch(batch, options);
          if (batch[0]?.address.kind === "inlet" && breaks++ === 0) await link.down();
          return receipts;
        },
      });
      const bus = world.bus("shop", { transport });
      const done = new Set<string>();
      const got = world.recorder<Numbered>(({ data, context, message }) => {
        if (data.n === 1 && context.attempt === 1) throw new Error("once");
        done.add(message.id);
      });
      bus.handle(contract, got.handler, { retry: durably(5, 50) });
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await world.eventually("the connection to break behind the copy", () => breaks > 0);
      await link.restore();
      await world.eventually("the message to be handled", () => done.has(id), {
        withinMs: world.bounds.resumeMs + world.bounds.redeliveryMs + world.bounds.delayToleranceMs,
      });
      await world.drained([bus], [inlet(contract.channel)], world.bounds.resumeMs + world.bounds.redeliveryMs);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      const attempts = attemptsOf(got.calls);
      assert.ok(
        attempts.every((attempt) => attempt <= 2) && attempts.length <= 4,
        `no more than the copy and its original account for: ${attempts.join(", ")}`,
      );
    },
  },
  {
    id: "H2c",
    title: "while the broker takes no messages, what waits for its next attempt is kept: a successor gets it",
    tier: "fault",
    needs: ["delayedDelivery"],
    async run(world) {
      world.tolerate("message.handover-failed");
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const hold = world.gate();
      const got = world.recorder<Numbered>(async () => {
        await hold.opened;
        throw new Error("not now");
      });
      bus.handle(contract, got.handler, { retry: durably(3, 20) });
      await bus.start();
      const { id } = await bus.send(contract, { n: 1 });
      await got.waitFor(1);
      await world.faults.blockPublishers();
      world.defer(() => world.faults.unblockPublishers());
      hold.open();
      await world.event(bus, "message.failed");
      await world.within("close", bus.close({ timeoutMs: 100 }));
      await world.faults.unblockPublishers();
      const successor = world.bus("shop");
      const again = world.recorder<Numbered>();
      successor.handle(contract, again.handler);
      await successor.start();
      await again.waitFor(1, world.bounds.redeliveryMs + world.bounds.delayToleranceMs);
      assert.equal(again.calls[0]?.message.id, id);
      await world.closeAndFindEmpty([successor], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
];
