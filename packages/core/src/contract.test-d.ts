import * as v from "valibot";
import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import { bytes } from "./codec.ts";
import { queue, topic } from "./channel.ts";
import type { Contract } from "./contract.ts";

const schema = z.object({ orderId: z.string(), at: z.iso.datetime().transform((text) => Date.parse(text)) });

test("a contract is typed by its schema's input and output, not by the schema", () => {
  const contract = queue("orders").command("place-order", { schema, key: (order) => order.orderId });
  expectTypeOf(contract).toEqualTypeOf<
    Contract<"command", "queue", { orderId: string; at: string }, { orderId: string; at: number }>
  >();
  const other = topic("events").event("placed", { schema: v.object({ id: v.pipe(v.string(), v.transform(Number)) }) });
  expectTypeOf(other).toEqualTypeOf<Contract<"event", "topic", { id: string }, { id: number }>>();
});

test("bytes need no schema", () => {
  expectTypeOf(topic("files").document("blob", { codec: bytes })).toEqualTypeOf<
    Contract<"document", "topic", Uint8Array, Uint8Array>
  >();
});

test("a contract needs a schema or the bytes codec", () => {
  // @ts-expect-error neither is given
  queue("orders").command("place-order", { version: 1 });
});

test("an ordered channel needs a key", () => {
  const ordered = topic("events", { ordered: true });
  ordered.event("placed", { schema, key: (event) => event.orderId });
  // @ts-expect-error no key
  ordered.event("placed", { schema });
  // @ts-expect-error a key must be a string
  ordered.event("placed", { schema, key: (event) => event.orderId.length });
});

test("a queue makes no events and a topic no commands", () => {
  // @ts-expect-error
  void queue("orders").event;
  // @ts-expect-error
  void topic("events").command;
});
