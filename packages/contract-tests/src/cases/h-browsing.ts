/** H5: looking at dead letters, and clearing them away, without touching the others. */
import assert from "node:assert/strict";
import type { DeadLetterChannel } from "@posthorn/core";
import { deadLetter } from "@posthorn/core";
import { awkwardBytes, hex, utf8 } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { blobOf, numbers, workOf } from "../contracts.ts";
import type { Numbered } from "../schema.ts";
import { anything } from "../schema.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

/** Of each line of an export, what it says of the body. */
interface Line {
  readonly reason: string;
  readonly redriveCount: number;
  readonly message: { readonly id: string; readonly body?: string; readonly bodyBase64?: string };
}

const bodyOf = ({ message }: Line): Uint8Array =>
  message.bodyBase64 === undefined
    ? utf8(message.body ?? "")
    : new Uint8Array(Buffer.from(message.bodyBase64, "base64"));

/** A bus whose dead letters are 0, 1, … of the types `odd` and `even`, with different errors. */
async function assorted(world: World, count: number): Promise<DeadLetterChannel> {
  const channel = world.queue();
  const [even, odd] = ["even", "odd"].map((type) => channel.command(type, { schema: anything<Numbered>() }));
  assert.ok(even !== undefined && odd !== undefined);
  const bus = world.bus("shop", { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } });
  const { deadLetters: dead } = bus.handle(even, ({ data }) => {
    throw new RangeError(`${data.n} is even`);
  });
  bus.handle(odd, ({ data }) => {
    throw data.n % 3 === 0 ? deadLetter("three") : new TypeError(`${data.n} is odd`);
  });
  await bus.start();
  for (const n of numbers(count)) {
    await bus.send(n % 2 === 0 ? even : odd, { n }, { id: `m-${n}` });
    await world.event(bus, "message.dead-lettered", n + 1);
  }
  return dead;
}

const idsOf = async (browsing: ReturnType<DeadLetterChannel["browse"]>): Promise<readonly string[]> =>
  (await browsing).map(({ message }) => message.id);

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
      for (let round = 0; round < 50; round++)
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
    id: "H5f",
    title: "dead letters can be filtered, found by id and summed up",
    tier: "core",
    async run(world) {
      const dead = await assorted(world, 10);
      assert.deepEqual(await idsOf(dead.browse({ type: "odd", reason: "ATTEMPTS_EXHAUSTED" })), ["m-1", "m-5", "m-7"]);
      assert.deepEqual(await idsOf(dead.browse({ errorName: "RangeError", limit: 2 })), ["m-0", "m-2"]);
      assert.deepEqual(await idsOf(dead.browse({ ids: ["m-9", "m-4", "nobody"] })), ["m-4", "m-9"]);
      assert.deepEqual(await idsOf(dead.browse({ where: ({ message }) => message.id.endsWith("8") })), ["m-8"]);
      assert.deepEqual(await idsOf(dead.browse({ failedBefore: new Date(0) })), []);
      const found = await dead.find("m-7");
      assert.deepEqual([found?.message.id, found?.errorName, found?.errorMessage], ["m-7", "TypeError", "7 is odd"]);
      assert.equal(await dead.find("nobody"), undefined);
      const summary = await dead.summarize();
      assert.deepEqual(
        summary.map(({ reason, errorName, errorMessage, count }) => `${count} ${reason} ${errorName}: ${errorMessage}`),
        [
          "5 ATTEMPTS_EXHAUSTED RangeError: 8 is even",
          "3 ATTEMPTS_EXHAUSTED TypeError: 7 is odd",
          "2 DEAD_LETTERED Outcome: three",
        ],
      );
      for (const { firstFailedAt, lastFailedAt } of summary)
        assert.ok(firstFailedAt !== undefined && lastFailedAt !== undefined && firstFailedAt <= lastFailedAt);
      assert.deepEqual(
        (await dead.summarize({ type: "even" })).map(({ count }) => count),
        [5],
      );
      assert.equal((await dead.depth()).ready, 10, "all of them are still there");
    },
  },
  {
    id: "H5x",
    title: "dead letters can be exported as lines of JSON that give every byte back, and stay where they are",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = blobOf(channel);
      const bus = world.bus("shop");
      const { deadLetters: dead } = bus.handle(contract, () => {
        throw deadLetter("a line\nand another \u2028 one");
      });
      await bus.start();
      const bodies = [awkwardBytes, utf8('{"text":"é\r\n😀"}'), new Uint8Array(0), utf8("\u{feff}with a mark")];
      for (const [index, body] of bodies.entries()) {
        await bus.send(contract, body, { id: `m-${index}` });
        await world.event(bus, "message.dead-lettered", index + 1);
      }
      const lines: Line[] = [];
      for await (const line of dead.export()) {
        assert.ok(line.endsWith("\n") && line.indexOf("\n") === line.length - 1, "one line each");
        lines.push(JSON.parse(line) as Line);
      }
      assert.deepEqual(
        lines.map((line) => [line.message.id, hex(bodyOf(line)), line.reason, line.redriveCount]),
        bodies.map((body, index) => [`m-${index}`, hex(body), "DEAD_LETTERED", 0]),
      );
      for await (const line of dead.export({ ids: ["m-1", "m-2"] })) {
        assert.match(line, /"m-1"/, "the first that matches");
        break;
      }
      await world.eventually(
        "all of them to be there, although somebody stopped half-way",
        async () => (await dead.depth()).ready === 4,
      );
      assert.deepEqual(
        (await dead.browse()).map(({ message }) => hex(message.body)),
        bodies.map(hex),
      );
      await world.closeAndFindEmpty([bus], [inlet(channel)]);
    },
  },
  {
    id: "H5p",
    title: "purging by a filter removes those that match and leaves the others, in their order",
    tier: "core",
    async run(world) {
      const dead = await assorted(world, 10);
      assert.equal(await dead.purge({ type: "odd", reason: "DEAD_LETTERED" }), 2);
      assert.deepEqual(await idsOf(dead.browse()), ["m-0", "m-1", "m-2", "m-4", "m-5", "m-6", "m-7", "m-8"]);
      assert.equal(await dead.purge({ ids: ["nobody"] }), 0);
      assert.equal(await dead.purge({ where: ({ message }) => ["m-0", "m-8"].includes(message.id) }), 2);
      assert.deepEqual(await idsOf(dead.browse()), ["m-1", "m-2", "m-4", "m-5", "m-6", "m-7"]);
      await world.eventually("a depth of 6", async () => (await dead.depth()).ready === 6);
      assert.equal(await world.native.ready(deadLetters(dead.channel)), 6);
      assert.equal(await dead.purge(), 6);
      assert.equal(await world.native.ready(deadLetters(dead.channel)), 0);
    },
  },
  {
    id: "H5b",
    title: "whoever browses while messages die and are redriven loses none of them",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const operator = world.bus("operator");
      const got = world.recorder<Numbered>(() => {
        throw deadLetter("no");
      });
      bus.handle(contract, got.handler);
      await Promise.all([bus.start(), operator.start()]);
      const dead = operator.deadLetters(contract.channel);
      let over = false;
      const looking = (async () => {
        let rounds = 0;
        for (; !over; rounds++) await dead.browse({ limit: 1_000 });
        return rounds;
      })();
      await Promise.all(numbers(50).map((n) => bus.send(contract, { n })));
      await world.event(bus, "message.dead-lettered", 50);
      over = true;
      assert.ok((await looking) > 0);
      await world.eventually("fifty dead letters", async () => (await dead.browse()).length === 50);
      await world.eventually("a depth of 50", async () => (await dead.depth()).ready === 50);
      assert.equal(new Set(await idsOf(dead.browse())).size, 50);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
      assert.equal(await world.native.ready(deadLetters(contract.channel)), 50);
    },
  },
];
