/** A2, A3, A6: the sender's own headers. */
import assert from "node:assert/strict";
import type { ContractCase } from "../case.ts";
import { workOf } from "../contracts.ts";
import { rejectsWith } from "../rejects.ts";
import type { World } from "../world.ts";
import { inlet } from "../world.ts";

const longName = "n".repeat(255);
/** After go-cloud's escape.WeirdStrings, and names that JavaScript or a broker gives a meaning of its own. */
const weirdNames =
  "a/b//c|../up|back\\slash|quo\"te|spa ce| lead|trail |12digit|☺☺☺|😀|é|~!@#$%^&*()_+`-=[]{};':,.<>?|UPPER|upper|x-death|CC|BCC|x-delay|constructor|toString|content-type|message-id|ce_x|x-match"
    .split("|")
    .concat("a|b", longName);
const weirdValues = [
  "",
  " ",
  " both ",
  "line\r\nfeed",
  "tab\t",
  "nul\0",
  "\u001b[0m",
  "é",
  "😀",
  "\u{10ffff}",
  "\ufeffbom",
  "null",
  "undefined",
  "0",
  "v".repeat(3_000),
];

async function roundTrip(world: World, headers: Record<string, string>): Promise<Readonly<Record<string, string>>> {
  const contract = workOf(world.queue());
  const bus = world.bus("shop");
  const got = world.recorder<{ n: number }>();
  bus.handle(contract, got.handler);
  await bus.start();
  await bus.send(contract, { n: 1 }, { headers });
  const [call] = await got.waitFor(1);
  return call?.message.headers ?? {};
}

export const headerCases: readonly ContractCase[] = [
  {
    id: "A2",
    title: "weird header names and values arrive equal",
    tier: "core",
    async run(world) {
      const headers: Record<string, string> = {};
      weirdNames.forEach((name, index) => (headers[name] = `value of ${index}`));
      weirdValues.forEach((value, index) => (headers[`value-${index}`] = value));
      assert.deepEqual({ ...(await roundTrip(world, headers)) }, headers);
    },
  },
  {
    id: "A2r",
    title: "header names and values that no broker carries unchanged are refused before anything is sent",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      bus.declare(contract);
      await bus.start();
      for (const name of ["", "new\nline", "nul\0", "\u007f", "n".repeat(256), "é".repeat(128), "\ud800"]) {
        await rejectsWith(
          "INVALID_HEADER",
          () => bus.send(contract, { n: 1 }, { headers: { [name]: "x" } }),
          `the header name ${JSON.stringify(name.slice(0, 20))}`,
        );
      }
      await rejectsWith(
        "INVALID_HEADER",
        () => bus.send(contract, { n: 1 }, { headers: { ok: "\udc00" } }),
        "a lone surrogate as a value",
      );
      await world.closeAndFindEmpty([bus], [inlet(contract.channel)]);
    },
  },
  {
    id: "A3",
    title: "numbers, booleans and bigints become strings in headers, undefined is left out, anything else is refused",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<{ n: number }>();
      bus.handle(contract, got.handler);
      await bus.start();
      for (const value of [{}, [], null, Symbol("x"), () => 1]) {
        await rejectsWith(
          "INVALID_HEADER",
          () => bus.send(contract, { n: 1 }, { headers: { bad: value as unknown as string } }),
          `the value ${typeof value}`,
        );
      }
      await bus.send(
        contract,
        { n: 1 },
        {
          headers: {
            empty: "",
            zero: 0,
            large: 2 ** 31,
            fraction: -1.5,
            yes: true,
            no: false,
            big: 2n ** 64n,
            none: undefined,
          },
        },
      );
      const [call] = await got.waitFor(1);
      assert.deepEqual(
        { ...call?.message.headers },
        {
          empty: "",
          zero: "0",
          large: "2147483648",
          fraction: "-1.5",
          yes: "true",
          no: "false",
          big: "18446744073709551616",
        },
      );
    },
  },
  {
    id: "A6",
    title: "a user's header cannot pass for a part of the envelope: it is refused, or arrives as nothing but a header",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const bus = world.bus("shop");
      const got = world.recorder<{ n: number }>();
      bus.handle(contract, got.handler);
      await bus.start();
      for (const name of ["posthorn-dead-letter", "posthorn-attempt", "Posthorn-x", "posthorn-"]) {
        await rejectsWith("INVALID_HEADER", () => bus.send(contract, { n: 0 }, { headers: { [name]: "spoof" } }), name);
      }
      const names = [
        "id",
        "type",
        "version",
        "source",
        "time",
        "attempt",
        "key",
        "correlation-id",
        "message-id",
        "content-type",
        "reply-to",
        "traceparent",
      ];
      const prefixes = ["", "ce_", "ce-", "cloudEvents:", "cloudEvents_", "x-"];
      const headers: Record<string, string> = {};
      for (const name of prefixes.flatMap((prefix) => [...names, "specversion"].map((each) => prefix + each))) {
        try {
          await bus.send(contract, { n: 1 }, { headers: { [name]: "99" }, key: "real" });
          headers[name] = "99";
        } catch (error) {
          assert.equal(
            (error as { code?: unknown }).code,
            "INVALID_HEADER",
            `${name} is refused, if at all, as a header`,
          );
        }
      }
      const accepted = Object.keys(headers);
      await got.waitFor(accepted.length);
      for (const { message, context } of got.calls) {
        assert.deepEqual(
          {
            type: message.type,
            version: message.version,
            source: message.source,
            key: message.key,
            contentType: message.contentType,
            attempt: context.attempt,
          },
          { type: "work", version: 1, source: "shop", key: "real", contentType: "application/json", attempt: 1 },
          `spoofed by ${JSON.stringify(message.headers)}`,
        );
        assert.notEqual(message.id, "99", `spoofed by ${JSON.stringify(message.headers)}`);
      }
      assert.deepEqual(
        Object.assign({}, ...got.calls.map(({ message }) => message.headers)),
        headers,
        "and all of them arrived",
      );
    },
  },
];
