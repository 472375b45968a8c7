/** H4: a redrive does as much as it was told to, and whatever ends it loses nothing. */
import assert from "node:assert/strict";
import type { ContractCase } from "../case.ts";
import { ascending, handledNumbers, numbers } from "../contracts.ts";
import { morgue } from "../morgue.ts";
import { rejectsWith } from "../rejects.ts";
import { deadLetters, inlet } from "../world.ts";

export const redriveBoundsCases: readonly ContractCase[] = [
  {
    id: "H4n",
    title: "a dry run counts and changes nothing; a limit takes the oldest",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead, ids, repair } = await morgue(world, 6);
      repair();
      const all = await dead.browse();
      assert.deepEqual(await dead.redrive({ dryRun: true }), { redriven: 6, unmatched: 0, guarded: 0 });
      assert.deepEqual(await dead.redrive({ dryRun: true, limit: 4, ids: ids.slice(1) }), {
        redriven: 4,
        unmatched: 1,
        guarded: 0,
      });
      assert.deepEqual(await dead.browse(), all, "they are where they were, as they were");
      assert.equal(await world.native.ready(deadLetters(contract.channel)), 6);
      assert.equal(got.calls.length, 6, "and nothing was handled");
      assert.equal((await dead.redrive({ limit: 2 })).redriven, 2);
      await got.waitFor(8);
      assert.deepEqual(handledNumbers(got.calls.slice(6)), [0, 1], "the oldest two");
      assert.equal(await world.native.ready(deadLetters(contract.channel)), 4);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(got.calls.length, 8);
    },
  },
  {
    id: "H4p",
    title: "a redrive is no faster than it may be, and takes only what it should",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead, repair } = await morgue(world, 6);
      repair();
      const started = performance.now();
      assert.equal((await dead.redrive({ messagesPerSecond: 20 })).redriven, 6);
      const tookMs = performance.now() - started;
      // The first goes at once, each other one a twentieth of a second later.
      assert.ok(tookMs >= 5 * 50 - 5, `six at twenty a second take 250 ms, not ${tookMs}`);
      await got.waitFor(12);
      for (const bad of [{ messagesPerSecond: 0 }, { messagesPerSecond: Number.NaN }, { limit: 0 }, { limit: 1.5 }])
        await rejectsWith("INVALID_OPTION", () => dead.redrive(bad), JSON.stringify(bad));
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "H4l",
    title:
      "a redrive while the handler still fails ends, with each message redriven once; what was redriven too often is left",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead } = await morgue(world, 12);
      assert.deepEqual(await world.within("the redrive to end", dead.redrive()), {
        redriven: 12,
        unmatched: 0,
        guarded: 0,
      });
      await world.event(bus, "message.dead-lettered", 24);
      assert.equal(got.calls.length, 24, "each was tried once more");
      assert.deepEqual(
        (await dead.browse()).map(({ redriveCount }) => redriveCount),
        numbers(12).map(() => 1),
      );
      assert.deepEqual(await dead.redrive({ maxRedrives: 1 }), { redriven: 0, unmatched: 0, guarded: 12 });
      assert.equal((await dead.redrive({ maxRedrives: 2, limit: 5 })).redriven, 5);
      await world.event(bus, "message.dead-lettered", 29);
      assert.deepEqual(await dead.redrive({ maxRedrives: 2, dryRun: true }), { redriven: 7, unmatched: 0, guarded: 5 });
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(await world.native.ready(deadLetters(contract.channel)), 12);
      assert.equal(got.calls.length, 29);
    },
  },
  {
    id: "H4i",
    title: "a redrive that is given up half-way loses nothing, and the next one does the rest",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead, repair } = await morgue(world, 30);
      repair();
      const giveUp = new AbortController();
      const outcome = dead.redrive({ messagesPerSecond: 50, signal: giveUp.signal }).then(
        () => "ended",
        () => "given up",
      );
      await got.waitFor(30 + 8);
      giveUp.abort();
      assert.equal(await world.within("the redrive to end", outcome), "given up");
      const redriven = got.calls.length - 30;
      assert.ok(redriven < 30, `it was half-way: ${redriven} of 30`);
      const rest = await world.eventually("the others to be in their place", async () => {
        const { ready } = await dead.depth();
        return ready >= 30 - (got.calls.length - 30) && ready;
      });
      assert.ok(rest > 0);
      assert.equal((await dead.redrive()).redriven, rest);
      await world.eventually("every message to be handled", () => {
        const handled = new Set(got.calls.slice(30).map(({ data }) => data.n));
        return handled.size === 30;
      });
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.ok(got.calls.length - 60 <= 30 - rest, "twice at most what was under way when it was given up");
    },
  },
  {
    id: "H4f",
    title: "a redrive whose connection breaks fails, loses nothing, and can be run again",
    tier: "fault",
    async run(world) {
      const { contract, bus, got, dead, repair } = await morgue(world, 40);
      repair();
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      const operator = world.bus("operator", { transport: link.openTransport() });
      await operator.start();
      const first = operator
        .deadLetters(contract.channel)
        .redrive({ messagesPerSecond: 40 })
        .then(
          () => "ended",
          () => "failed",
        );
      await got.waitFor(40 + 10);
      await link.down();
      assert.equal(
        await world.within("the redrive to end", first, world.bounds.detectMs + world.bounds.resumeMs),
        "failed",
      );
      await operator.close({ timeoutMs: 0 });
      await world.eventually(
        "every message to be handled",
        async () => {
          // What the broken connection held may come back only now.
          await dead.redrive();
          return new Set(got.calls.slice(40).map(({ data }) => data.n)).size === 40;
        },
        {
          withinMs: world.bounds.redeliveryMs + world.bounds.resumeMs,
          seen: () => ascending(got.calls.slice(40).map(({ data }) => data.n)),
        },
      );
      await world.drained([bus], [inlet(contract.channel)]);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
    },
  },
  {
    id: "H4c",
    title: "two redrives at the same moment lose nothing between them",
    tier: "core",
    async run(world) {
      const { contract, bus, got, dead, repair } = await morgue(world, 30);
      repair();
      const operator = world.bus("operator");
      await operator.start();
      const reports = await world.within(
        "both redrives",
        Promise.all([dead.redrive(), operator.deadLetters(contract.channel).redrive()]),
      );
      const redriven = reports.reduce((sum, report) => sum + report.redriven, 0);
      const rest = (await dead.redrive()).redriven;
      assert.equal(redriven + rest, 30, "each once");
      await got.waitFor(60);
      await world.closeAndFindEmpty([bus, operator], [inlet(contract.channel), deadLetters(contract.channel)]);
      assert.deepEqual(handledNumbers(got.calls.slice(30)), numbers(30));
    },
  },
];
