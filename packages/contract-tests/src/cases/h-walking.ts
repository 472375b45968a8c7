/** H6: a transport's walk through what waits, which the desk for dead letters is made of. */
import assert from "node:assert/strict";
import type { Message, Settlement, Verdict } from "@posthorn/core/transport";
import { channelAddress, deadLetterAddress, inletAddress } from "@posthorn/core/transport";
import { utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { numbers } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { plain, queueTopology } from "../topology.ts";
import { named, walking } from "../walking.ts";
import { inlet } from "../world.ts";

export const walkingCases: readonly ContractCase[] = [
  {
    id: "H6",
    title:
      "a walk visits each message that waits once, oldest first, removes what it is told to, and leaves the rest in place",
    tier: "core",
    async run(world) {
      const { walk, ids, ready } = await walking(world, 8);
      const visited: string[] = [];
      await walk((id) => {
        visited.push(id);
        return Number(id) % 3 === 0 ? "remove" : "keep";
      });
      assert.deepEqual(visited, named(0, 1, 2, 3, 4, 5, 6, 7));
      assert.deepEqual(await ids(), named(1, 2, 4, 5, 7));
      assert.equal(await ready(), 5, "it has taken effect on the broker");
      await walk(() => "remove", { maxPending: 5 });
      assert.deepEqual(await ids(), []);
      assert.equal(await ready(), 0);
      await walk(() => assert.fail("nothing is there to be visited"));
    },
  },
  {
    id: "H6s",
    title: "a walk ends where it is told to stop, and at its limit; what it had removed is gone and nothing else",
    tier: "core",
    async run(world) {
      const { walk, ids, ready } = await walking(world, 8);
      const visited: string[] = [];
      await walk((id) => {
        visited.push(id);
        return id === "1" ? "remove" : id === "3" ? "stop" : "keep";
      });
      assert.deepEqual(visited, named(0, 1, 2, 3), "the one that said stop is the last");
      assert.deepEqual(await ids(), named(0, 2, 3, 4, 5, 6, 7), "and stays");
      visited.length = 0;
      await walk(
        (id) => {
          visited.push(id);
          return id === "2" ? "remove" : "keep";
        },
        { limit: 3 },
      );
      assert.deepEqual(visited, named(0, 2, 3));
      await walk(() => "remove", { limit: 1 });
      assert.deepEqual(await ids(), named(3, 4, 5, 6, 7));
      assert.equal(await ready(), 5);
    },
  },
  {
    id: "H6p",
    title: "at most as many visits of a walk are pending as allowed, and as many as that",
    tier: "core",
    async run(world) {
      const { walk, ready } = await walking(world, 12);
      const hold = world.gate();
      let pending = 0;
      let most = 0;
      const done = walk(
        async (id): Promise<Verdict> => {
          most = Math.max(most, ++pending);
          await hold.opened;
          pending--;
          return Number(id) % 2 === 0 ? "remove" : "keep";
        },
        { maxPending: 4 },
      );
      await world.eventually("four pending visits", () => pending === 4);
      hold.open();
      await world.within("the walk", done);
      assert.equal(most, 4);
      assert.equal(await ready(), 6);
      most = 0;
      await walk(
        async (): Promise<Verdict> => {
          most = Math.max(most, ++pending);
          await new Promise((resolve) => setImmediate(resolve));
          pending--;
          return "keep";
        },
        { maxPending: 1 },
      );
      assert.equal(most, 1, "one at a time");
      assert.equal(await ready(), 6);
    },
  },
  {
    id: "H6m",
    title: "what comes while a walk lasts is not visited by it, or once, and is not lost",
    tier: "core",
    async run(world) {
      const { transport, walk, ids } = await walking(world, 4);
      const channel = plain(world.queue());
      const address = deadLetterAddress(channel, channel.name);
      const visited: string[] = [];
      await walk(async (id): Promise<Verdict> => {
        visited.push(id);
        const next = String(100 + visited.length);
        // A walk that visited what comes meanwhile would never end.
        if (visited.length < 50)
          await transport.dispatch([{ address, message: plainMessage({ id: next }) }], world.waiting);
        return "keep";
      });
      assert.deepEqual(visited.slice(0, 4), named(0, 1, 2, 3));
      assert.ok(visited.length < 50, "it ends with what waited when it was called");
      assert.equal(new Set(visited).size, visited.length, "none is visited twice");
      const there = await ids();
      assert.equal(there.length, 4 + visited.length);
      assert.equal(new Set(there).size, there.length);
    },
  },
  {
    id: "H6q",
    title: "what waits for a group can be counted and walked through without disturbing its consumers",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const source = inletAddress(info, info.name);
      const transport = await world.transport(queueTopology(channel));
      const messages = [0, 1, 2].map((n) => plainMessage({ body: Uint8Array.of(n) }));
      const address = channelAddress(info);
      await transport.dispatch(
        messages.map((message) => ({ address, message })),
        world.waiting,
      );
      for (let round = 0; round < 3; round++) {
        const seen: string[] = [];
        const look = async ({ id }: Message): Promise<Verdict> => {
          seen.push(id);
          return "keep";
        };
        await transport.admin.walk(source, look, { ...world.waiting, limit: 10, maxPending: 1 });
        assert.deepEqual(seen.toSorted(), messages.map(({ id }) => id).toSorted());
      }
      await world.eventually(
        "a depth of 3",
        async () => (await transport.admin.depth(source, world.waiting)).ready === 3,
      );
      assert.equal((await transport.admin.depth(deadLetterAddress(info, info.name), world.waiting)).ready, 0);
      assert.equal(await world.native.ready(inlet(channel)), 3);
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
  {
    id: "H6b",
    title: "a walk can go through more than a process should hold, and each visit has the whole message",
    tier: "core",
    async run(world) {
      const { transport, ready } = await walking(world, 0);
      const channel = plain(world.queue());
      const address = deadLetterAddress(channel, channel.name);
      const body = utf8("x".repeat(20_000));
      for (const batch of numbers(5)) {
        const receipts = await transport.dispatch(
          numbers(100).map((n) => ({ address, message: plainMessage({ id: String(100 * batch + n), body }) })),
          world.waiting,
        );
        assert.ok(receipts.every((receipt) => receipt.accepted));
      }
      const seen: string[] = [];
      const visit = async ({ id, body: bytes }: Message): Promise<Verdict> => {
        seen.push(id);
        assert.equal(bytes.length, body.length);
        return Number(id) % 2 === 0 ? "remove" : "keep";
      };
      await transport.admin.walk(address, visit, { ...world.waiting, limit: 10_000, maxPending: 16 });
      assert.deepEqual(seen, numbers(500).map(String));
      assert.equal(await ready(), 250);
    },
  },
];
