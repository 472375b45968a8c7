/** H6: a walk that is cut short leaves in its place what it has not removed. */
import assert from "node:assert/strict";
import type { Message, Verdict } from "@posthorn/core/transport";
import { deadLetterAddress } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import { numbers } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { rejectsWith } from "../rejects.ts";
import { plain, queueTopology } from "../topology.ts";
import { named, walking } from "../walking.ts";
import { deadLetters } from "../world.ts";

export const cutShortWalkCases: readonly ContractCase[] = [
  {
    id: "H6r",
    title: "a visit that rejects ends the walk with the same error, and what was not removed stays in its place",
    tier: "core",
    async run(world) {
      const { walk, ids, ready } = await walking(world, 8);
      const failure = new RangeError("the visitor has seen enough");
      const visited: string[] = [];
      await assert.rejects(
        walk(async (id): Promise<Verdict> => {
          visited.push(id);
          if (id === "3") throw failure;
          return id === "1" ? "remove" : "keep";
        }),
        (error) => error === failure,
        "the walk rejects with the visitor's own error",
      );
      assert.deepEqual(visited, named(0, 1, 2, 3), "and begins no more visits");
      const left = await world.eventually("the others to be back", async () => {
        const found = await ids();
        return found.length >= 7 && found;
      });
      // A removal that was cut off may not have happened.
      assert.deepEqual(
        left.filter((id) => id !== "1"),
        named(0, 2, 3, 4, 5, 6, 7),
      );
      assert.equal(await ready(), left.length);
    },
  },
  {
    id: "H6a",
    title: "a walk whose signal fires rejects with ABORTED, and leaves everything in its place",
    tier: "core",
    async run(world) {
      const { walk, ids, ready } = await walking(world, 8);
      const giveUp = new AbortController();
      const hold = world.gate();
      let pending = 0;
      const walked = walk(
        async (): Promise<Verdict> => {
          pending++;
          await hold.opened;
          return "remove";
        },
        { signal: giveUp.signal, maxPending: 3 },
      );
      const outcome = rejectsWith("ABORTED", () => world.within("the walk to end", walked), "the walk");
      await world.eventually("three pending visits", () => pending === 3);
      giveUp.abort();
      await outcome;
      await world.eventually("all of them to be back", async () => (await ready()) === 8);
      hold.open();
      assert.deepEqual(await ids(), named(0, 1, 2, 3, 4, 5, 6, 7));
      assert.equal(pending, 3, "no more visits were begun");
      await rejectsWith(
        "ABORTED",
        () => walk(() => "remove", { signal: AbortSignal.abort() }),
        "a walk given up before",
      );
      assert.equal(await ready(), 8);
    },
  },
  {
    id: "H6f",
    title: "a walk whose connection is cut rejects, and what was not removed is back in its place",
    tier: "fault",
    async run(world) {
      const channel = world.queue();
      const address = deadLetterAddress(plain(channel), channel.name);
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const transport = await world.transport(queueTopology(channel), link.openTransport());
      for (const n of numbers(8))
        await transport.dispatch([{ address, message: plainMessage({ id: String(n) }) }], world.waiting);
      const hold = world.gate();
      let pending = 0;
      const walked = transport.admin.walk(
        address,
        async () => {
          pending++;
          await hold.opened;
          return "remove";
        },
        { ...world.waiting, limit: 100, maxPending: 4 },
      );
      const outcome = rejectsWith(
        "CONNECTION_LOST",
        () => world.within("the walk to end", walked, world.bounds.detectMs + world.bounds.patienceMs),
        "the walk",
      );
      await world.eventually("four pending visits", () => pending === 4);
      // What no cut strikes is struck by an outage.
      if (world.native.keepsConnections) await link.cut();
      else await link.down();
      await outcome;
      await link.restore();
      hold.open();
      await world.eventually(
        "all of them to be back",
        async () => (await world.native.ready(deadLetters(channel))) === 8,
        {
          withinMs: world.bounds.redeliveryMs,
        },
      );
      const ids = await world.eventually(
        "a walk to work again",
        async () => {
          const found: string[] = [];
          const look = async ({ id }: Message): Promise<Verdict> => {
            found.push(id);
            return "keep";
          };
          await transport.admin.walk(address, look, { ...world.waiting, limit: 100, maxPending: 1 });
          return found;
        },
        { withinMs: world.bounds.resumeMs },
      );
      assert.deepEqual(ids, named(0, 1, 2, 3, 4, 5, 6, 7));
    },
  },
];
