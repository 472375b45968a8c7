/** H5: looking at what waits, without touching it. */
import assert from "node:assert/strict";
import { deadLetter } from "@posthorn/core";
import type { Settlement } from "@posthorn/core/transport";
import { deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import { hex } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { blobOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { plain, queueTopology } from "../topology.ts";
import { deadLetters } from "../world.ts";

export const browsingCases: readonly ContractCase[] = [
  {
    id: "H5",
    title: "dead letters can be counted and browsed again and again, and stay as they are",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = blobOf(channel);
      const bus = world.bus("shop");
      const subscription = bus.handle(contract, () => {
        throw deadLetter("no");
      });
      await bus.start();
      const bodies = [0, 1, 2, 3, 4].map((n) => Uint8Array.of(n, 255, 0));
      for (const [index, body] of bodies.entries()) {
        await bus.send(contract, body);
        await world.event(bus, "message.dead-lettered", index + 1);
      }
      const first = await subscription.deadLetters.browse();
      assert.deepEqual(first.map(({ message }) => hex(message.body)).toSorted(), bodies.map(hex).toSorted());
      // More often than any broker's delivery limit would bear.
      for (let round = 0; round < 30; round++)
        assert.deepEqual(await subscription.deadLetters.browse(), first, `round ${round} sees the same`);
      assert.deepEqual(
        await subscription.deadLetters.browse({ limit: 2 }),
        first.slice(0, 2),
        "the oldest, up to the limit",
      );
      await world.eventually("a depth of 5", async () => (await subscription.deadLetters.depth()).ready === 5);
      assert.equal(await world.native.ready(deadLetters(channel)), 5);
      assert.deepEqual(
        (await world.native.bodies(deadLetters(channel))).map(hex).toSorted(),
        bodies.map(hex).toSorted(),
        "they are on the broker as they were",
      );
      assert.equal(await subscription.deadLetters.purge(), 5);
      assert.deepEqual(await subscription.deadLetters.browse(), []);
      assert.equal(await world.native.ready(deadLetters(channel)), 0);
    },
  },
  {
    id: "H5q",
    title: "what waits for a group can be counted and browsed without disturbing its consumers",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const source = inletAddress(info, info.name);
      const transport = await world.transport(queueTopology(channel));
      const messages = [0, 1, 2].map((n) => plainMessage({ body: Uint8Array.of(n) }));
      await transport.dispatch(
        messages.map((message) => ({
          address: { kind: "channel", id: `channel:queue:${info.name}`, channel: info },
          message,
        })),
        world.waiting,
      );
      for (let round = 0; round < 3; round++) {
        const seen = await transport.admin.browse(source, { ...world.waiting, limit: 10 });
        assert.deepEqual(seen.map(({ id }) => id).toSorted(), messages.map(({ id }) => id).toSorted());
      }
      await world.eventually(
        "a depth of 3",
        async () => (await transport.admin.depth(source, world.waiting)).ready === 3,
      );
      assert.equal((await transport.admin.depth(deadLetterAddress(info, info.name), world.waiting)).ready, 0);
      const got: string[] = [];
      const consumption = await transport.consume(
        source,
        async ({ message }): Promise<Settlement> => {
          got.push(message.id);
          return "accept";
        },
        { ...world.waiting, maxInFlight: 1 },
      );
      world.defer(() => consumption.stop());
      await world.eventually("all three to be consumed", () => got.length === 3);
      await world.eventually(
        "nothing to be left",
        async () => (await transport.admin.depth(source, world.waiting)).ready === 0,
      );
      assert.deepEqual(got.toSorted(), messages.map(({ id }) => id).toSorted(), "each once");
    },
  },
];
