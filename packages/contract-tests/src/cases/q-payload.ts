/** Q, L2: sizes and bytes. */
import assert from "node:assert/strict";
import { channelAddress, copyMessage, inletAddress, isPosthornError, messageBytes } from "@posthorn/core/transport";
import type { Settlement } from "@posthorn/core/transport";
import { awkwardBytes, hex, randomBytes } from "../bytes.ts";
import type { ContractCase } from "../case.ts";
import { blobOf, numbers, workOf } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { rejectsWith } from "../rejects.ts";
import { anything } from "../schema.ts";
import { plain, queueTopology } from "../topology.ts";
import { deadLetters, inlet } from "../world.ts";

/** What every broker carries, and the default of a bus. */
const portableLimit = 262_144;

export const payloadCases: readonly ContractCase[] = [
  {
    id: "Q1",
    title: "bodies from none to the limit arrive, one byte more is refused before sending, and the client lives on",
    tier: "core",
    async run(world) {
      const contract = blobOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<Uint8Array>();
      bus.handle(contract, got.handler);
      await bus.start();
      assert.ok(
        world.harness.capabilities.maxMessageBytes >= portableLimit,
        `a transport takes at least ${portableLimit} bytes`,
      );
      const headers = { note: "é".repeat(50) };
      const options = { id: "i".repeat(36), correlationId: "c", headers };
      // id, type, source, content type, correlation id, and the header: all in bytes.
      const overhead = 36 + "blob".length + "shop".length + "application/octet-stream".length + 1 + "note".length + 100;
      const largest = portableLimit - overhead;
      const sizes = [0, 1, largest - 1, largest];
      for (const size of sizes) await bus.send(contract, randomBytes(size, size + 1), options);
      for (const size of [largest + 1, largest + 100, 4 * portableLimit]) {
        const error = await rejectsWith(
          "MESSAGE_TOO_LARGE",
          () => bus.send(contract, randomBytes(size, 1), options),
          `a body of ${size} bytes`,
        );
        assert.equal(error.retryable, false);
      }
      await rejectsWith(
        "MESSAGE_TOO_LARGE",
        () => bus.send(contract, randomBytes(1, 1), { headers: { large: "x".repeat(portableLimit) } }),
        "headers over the limit",
      );
      await bus.send(contract, Uint8Array.of(1, 2), options);
      await got.waitFor(sizes.length + 1);
      await world.closeAndFindEmpty([bus], [inlet(contract.channel), deadLetters(contract.channel)]);
      const byLength = new Map(got.calls.map((call) => [call.data.length, call.data]));
      for (const size of sizes)
        assert.ok(
          Buffer.from(randomBytes(size, size + 1)).equals(byLength.get(size) ?? Uint8Array.of(9)),
          `${size} bytes arrived as they were`,
        );
      assert.equal(got.calls.length, sizes.length + 1, "nothing of what was refused arrived");
    },
  },
  {
    id: "Q1t",
    title: "the largest message that a transport claims to take really arrives",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      const empty = plainMessage({ body: new Uint8Array(), headers: { note: "x" } });
      const body = randomBytes(transport.capabilities.maxMessageBytes - messageBytes(empty), 3);
      const message = copyMessage(empty, { body });
      const receipts = await transport.dispatch([{ address: channelAddress(info), message }], world.waiting);
      assert.deepEqual(receipts, [{ accepted: true }]);
      let got: Uint8Array | undefined;
      const consumption = await transport.consume(
        inletAddress(info, info.name),
        async ({ message }): Promise<Settlement> => {
          got = message.body;
          return "accept";
        },
        { ...world.waiting, maxInFlight: 1 },
      );
      world.defer(() => consumption.stop());
      const arrived = await world.eventually("the message", () => got);
      assert.ok(Buffer.from(body).equals(arrived), "it arrived as it was");
    },
  },
  {
    id: "Q1c",
    title: "the limit counts bytes, not characters",
    tier: "core",
    async run(world) {
      const contract = world.queue().document("text", { schema: anything<string>() });
      const bus = world.bus("shop");
      const got = world.recorder<string>();
      bus.handle(contract, got.handler);
      await bus.start();
      for (const [character, bytes] of [
        ["é", 2],
        ["€", 3],
        ["😀", 4],
      ] as const) {
        const fits = character.repeat(Math.floor((portableLimit - 1_000) / bytes));
        await bus.send(contract, fits);
        await rejectsWith(
          "MESSAGE_TOO_LARGE",
          () => bus.send(contract, fits + character.repeat(1_000)),
          `too many ${character}`,
        );
      }
      await got.waitFor(3);
      for (const call of got.calls) assert.ok(/^(.)\1*$/u.test(call.data), "the text is what it was");
    },
  },
  {
    id: "Q1d",
    title: "the largest message can be dead-lettered too",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = blobOf(channel);
      const bus = world.bus("shop", { maxMessageBytes: portableLimit });
      const subscription = bus.handle(
        contract,
        () => {
          throw new Error("é".repeat(2_000));
        },
        { retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1 } } },
      );
      await bus.start();
      const body = randomBytes(portableLimit - 500, 7);
      await bus.send(contract, body);
      await world.event(bus, "message.dead-lettered");
      const [dead] = await subscription.deadLetters.browse();
      assert.ok(dead !== undefined && Buffer.from(dead.message.body).equals(body), "the body is complete");
      await world.closeAndFindEmpty([bus], [inlet(channel)]);
    },
  },
  {
    id: "Q2",
    title: "any bytes arrive as they were: every value, invalid UTF-8, what XML forbids",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const contract = blobOf(channel);
      const bus = world.bus("shop");
      const got = world.recorder<Uint8Array>();
      bus.handle(contract, got.handler);
      await bus.start();
      const bodies = [
        awkwardBytes,
        Uint8Array.of(0),
        Uint8Array.of(0xff),
        Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b),
        ...numbers(20).map((n) => randomBytes(1 + n * 37, n)),
      ];
      await Promise.all(bodies.map((body) => bus.send(contract, body)));
      await got.waitFor(bodies.length);
      assert.deepEqual(got.calls.map((call) => hex(call.data)).toSorted(), bodies.map(hex).toSorted());
    },
  },
  {
    id: "Q2n",
    title: "on the broker the body is the payload itself, which any program can read",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const bus = world.bus("shop");
      const work = workOf(channel);
      bus.declare(work);
      await bus.start();
      await bus.send(work, { n: 1 });
      assert.deepEqual(
        (await world.native.bodies(inlet(channel))).map((body) => new TextDecoder().decode(body)),
        ['{"n":1}'],
      );
    },
  },
  {
    id: "L2",
    title: "in a batch with one message that is too large the others are accepted, each receipt in its place",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      const tooLarge = new Uint8Array(transport.capabilities.maxMessageBytes + 1);
      const messages = numbers(9).map((n) =>
        plainMessage({ id: `m${n}`, ...(n === 2 || n === 5 ? { body: tooLarge } : {}) }),
      );
      const receipts = await transport.dispatch(
        messages.map((message) => ({ address: channelAddress(info), message })),
        world.waiting,
      );
      const outcomes = receipts.map((receipt) =>
        receipt.accepted ? "accepted" : isPosthornError(receipt.error) ? receipt.error.code : String(receipt.error),
      );
      assert.deepEqual(
        outcomes,
        numbers(9).map((n) => (n === 2 || n === 5 ? "MESSAGE_TOO_LARGE" : "accepted")),
      );
      const got: string[] = [];
      const consumption = await transport.consume(
        inletAddress(info, info.name),
        async ({ message }): Promise<Settlement> => {
          got.push(message.id);
          return "accept";
        },
        { ...world.waiting, maxInFlight: 20 },
      );
      world.defer(() => consumption.stop());
      await world.eventually("the seven good ones", () => got.length >= 7, { seen: () => got });
      await world.eventually("nothing to be left", async () => (await world.native.ready(inlet(channel))) === 0);
      assert.deepEqual(
        got.toSorted(),
        [0, 1, 3, 4, 6, 7, 8].map((n) => `m${n}`),
      );
    },
  },
  {
    id: "L5",
    title: "a dispatch that is given up settles at once, with a receipt for every message",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      const receipts = await world.within(
        "receipts",
        transport.dispatch(
          numbers(3).map(() => ({ address: channelAddress(info), message: plainMessage() })),
          { signal: AbortSignal.abort() },
        ),
      );
      assert.equal(receipts.length, 3);
      for (const receipt of receipts)
        assert.ok(
          receipt.accepted || ["CONNECTION_LOST", "UNKNOWN_OUTCOME", "ABORTED"].includes(receipt.error.code),
          receipt.accepted ? "" : receipt.error.code,
        );
      const lost = receipts.filter((receipt) => !receipt.accepted && receipt.error.code === "CONNECTION_LOST").length;
      const after = await transport.dispatch(
        [{ address: channelAddress(info), message: plainMessage() }],
        world.waiting,
      );
      assert.deepEqual(after, [{ accepted: true }]);
      await world.eventually(
        "what was accepted to be there, and nothing that was said not to be sent",
        async () => (await world.native.ready(inlet(channel))) <= 4 - lost,
      );
    },
  },
];
