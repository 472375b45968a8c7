/** B: a command goes to one owner. */
import assert from "node:assert/strict";
import { isPosthornError } from "@posthorn/core";
import type { Address, Message, Receipt } from "@posthorn/core/transport";
import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import { handledNumbers, happenedOn, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import type { Numbered } from "../schema.ts";
import { plain, queueTopology } from "../topology.ts";
import { deadLetters, inlet } from "../world.ts";

/** The list says 5 s for a broker in good health. */
const unroutableWithinMs = 5_000;

export const pointToPointCases: readonly ContractCase[] = [
  {
    id: "B1",
    title: "with one consumer a command makes exactly one call of the handler",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      await bus.start();
      const ids = await Promise.all([1, 2, 3].map(async (n) => (await bus.send(contract, { n })).id));
      await got.waitFor(3);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(got.calls.map((call) => call.message.id).toSorted(), ids.toSorted());
    },
  },
  {
    id: "B2",
    title: "a command that was sent while no consumer ran is received when one starts",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      await Promise.all([1, 2, 3].map((n) => sender.send(contract, { n })));
      await sender.close();
      assert.equal(await world.native.ready(inlet(contract.channel)), 3, "they wait on the broker");
      const owner = world.bus("billing");
      const got = world.recorder<Numbered>();
      owner.handle(contract, got.handler);
      await owner.start();
      await got.waitFor(3);
      await world.closeAndFindEmpty([owner], [inlet(contract.channel)]);
      assert.deepEqual(handledNumbers(got.calls), [1, 2, 3]);
    },
  },
  {
    id: "B3",
    title: "destinations with similar names are isolated from each other",
    tier: "core",
    async run(world) {
      const contracts = [world.queue(), world.queue("x"), world.queue("x-dlq"), world.queue("X")].map(workOf);
      const bus = world.bus("shop");
      const got = contracts.map((contract) => {
        const recorder = world.recorder<Numbered>();
        bus.handle(contract, recorder.handler);
        return recorder;
      });
      await bus.start();
      await Promise.all(contracts.map((contract, n) => bus.send(contract, { n })));
      await Promise.all(got.map((recorder) => recorder.waitFor(1)));
      await world.closeAndFindEmpty(
        [bus],
        contracts.flatMap(({ channel }) => [inlet(channel), deadLetters(channel)]),
      );
      assert.deepEqual(
        got.map(({ calls }) => calls.map((call) => call.data.n)),
        [[0], [1], [2], [3]],
      );
    },
  },
  {
    id: "B4",
    title: "a client that only sends consumes nothing, makes no group of its own, and closes cleanly",
    tier: "core",
    async run(world) {
      const command = workOf(world.queue());
      const event = happenedOn(world.topic("events"));
      const sender = world.bus("shop");
      sender.declare(command, event);
      await sender.start();
      await sender.send(command, { n: 1 });
      await sender.publish(event, { n: 1 });
      assert.equal(await world.native.ready(inlet(command.channel)), 1, "the command waits for its owner");
      assert.equal(
        await world.native.exists(inlet(event.channel, "shop")),
        false,
        "the sender is no group of the topic",
      );
      await world.within("the sender to close", sender.close());
      assert.equal(await world.native.ready(inlet(command.channel)), 1);
    },
  },
  {
    id: "B5",
    title:
      "what goes to a destination that does not exist fails with UNROUTABLE within 5 s, and fails nothing beside it",
    tier: "core",
    async run(world) {
      const good = world.queue("good");
      const transport = await world.transport(queueTopology(good));
      const lostQueue = plain(world.queue("lost"));
      const lostTopic = plain(world.topic("lost"));
      const bad = [
        channelAddress(lostQueue),
        inletAddress(lostQueue, lostQueue.name),
        deadLetterAddress(lostQueue, lostQueue.name),
        channelAddress(lostTopic),
        inletAddress(lostTopic, "shop"),
      ];
      const dispatch = async (address: Address, message: Message): Promise<Receipt | undefined> =>
        (await transport.dispatch([{ address, message }], world.waiting))[0];
      const goodAddress = channelAddress(plain(good));
      const both = async (): Promise<{
        bad: readonly (Receipt | undefined)[];
        good: readonly (Receipt | undefined)[];
      }> => {
        const failing = bad.map((address) => dispatch(address, plainMessage()));
        const succeeding = transport.dispatch(
          numbers(6).map(() => ({ address: goodAddress, message: plainMessage() })),
          world.waiting,
        );
        return { bad: await Promise.all(failing), good: await succeeding };
      };
      for (const round of [1, 2]) {
        const receipts = await world.within("receipts", both(), unroutableWithinMs);
        receipts.bad.forEach((receipt, index) => {
          const code = receipt?.accepted === false && isPosthornError(receipt.error) ? receipt.error.code : "accepted";
          assert.equal(code, "UNROUTABLE", `round ${round}, ${bad[index]?.id}`);
        });
        assert.deepEqual(
          receipts.good,
          receipts.good.map(() => ({ accepted: true })),
          `round ${round}, the good ones`,
        );
      }
      assert.equal(
        await world.eventually(
          "what was accepted to be there",
          async () => (await world.native.ready(inlet(good))) === 12,
        ),
        true,
      );
    },
  },
  {
    id: "B5d",
    title: "a command whose queue was deleted is never reported as sent without being there",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const other = workOf(world.queue("other"));
      const sender = world.bus("shop", { publishTimeoutMs: unroutableWithinMs });
      sender.declare(contract, other);
      await sender.start();
      await world.native.delete(inlet(contract.channel));
      const outcome = await world.within(
        "an outcome",
        sender.send(contract, { n: 1 }).then(
          () => "sent",
          (error: unknown) => (isPosthornError(error) ? error.code : String(error)),
        ),
        2 * unroutableWithinMs,
      );
      if (outcome === "sent")
        assert.equal(await world.native.ready(inlet(contract.channel)), 1, "sent means that it is there");
      else assert.equal(outcome, "UNROUTABLE");
      await sender.send(other, { n: 2 });
      assert.equal(await world.native.ready(inlet(other.channel)), 1, "the sender still works");
    },
  },
];
