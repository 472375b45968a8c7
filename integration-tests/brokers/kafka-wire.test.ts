import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Address,
  addressOf,
  array,
  compactArray,
  compactNull,
  compactString,
  int16,
  int32,
  int8,
  kafkaRequest,
  noTags,
  nullArray,
  nullString,
  string,
  WireReader,
} from "./kafka-wire.ts";

describe("what is written can be read", () => {
  const reader = (...parts: Buffer[]): WireReader => new WireReader(Buffer.concat(parts));

  test("numbers", () => {
    const numbers = reader(int8(-1), int16(-2), int32(-3), Buffer.alloc(8, 0xff));
    expect([numbers.int8(), numbers.int16(), numbers.int32(), numbers.int64()]).toEqual([-1, -2, -3, -1n]);
  });

  test.for(["", "größer", "x".repeat(127), "x".repeat(300)])("the string %j", (text) => {
    expect(reader(string(text)).string()).toBe(text);
    expect(reader(compactString(text)).compactString()).toBe(text);
  });

  test("arrays", () => {
    const [plain, compact] = [reader(array([int16(1), int16(2)])), reader(compactArray([int16(1), int16(2)]))];
    expect(plain.array(() => plain.int16())).toEqual([1, 2]);
    expect(compact.compactArray(() => compact.int16())).toEqual([1, 2]);
  });

  test("null is empty", () => {
    const nothing = reader(nullString, nullArray, compactNull, compactNull);
    expect(nothing.string()).toBe("");
    expect(nothing.array(() => 0)).toEqual([]);
    expect(nothing.compactString()).toBe("");
    expect(nothing.compactArray(() => 0)).toEqual([]);
  });

  test("tagged fields are found by their tags", () => {
    const tags = reader(int8(1), int8(2), int8(4), int32(7), int8(9));
    expect(tags.tags().get(2)?.int32()).toBe(7);
    expect(tags.int8()).toBe(9);
    expect(reader(noTags).tags().size).toBe(0);
  });

  test("a message that ends too early is an error", () => {
    expect(() => reader(int16(5)).string()).toThrow("ends too early");
  });
});

test.for([
  ["localhost:9092", { host: "localhost", port: 9092 }],
  ["[::1]:9092", { host: "::1", port: 9092 }],
] as const)("%s is an address", ([text, address]) => {
  expect(addressOf(text)).toEqual(address);
});

test("a host alone is no address", () => {
  expect(() => addressOf("localhost")).toThrow("localhost is not host:port");
});

describe("a request", () => {
  async function serve(answer: (socket: Socket) => void): Promise<Address> {
    const server = createServer((socket) => socket.once("data", () => answer(socket))).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  }
  const api = { key: 3, version: 1, flexible: false };

  test("resolves to the body of the response, in however many parts it comes", async () => {
    const response = Buffer.concat([int32(6), int32(1), int16(42)]);
    const address = await serve((socket) => {
      socket.write(response.subarray(0, 3));
      setImmediate(() => socket.write(response.subarray(3)));
    });
    const reader = await kafkaRequest(address, api, nullArray);
    expect(reader.int16()).toBe(42);
  });

  test("fails where the connection ends without a response, as it does for a version that is not known", async () => {
    const address = await serve((socket) => socket.end());
    await expect(kafkaRequest(address, api, nullArray)).rejects.toThrow("closed the connection upon request 3");
  });

  test("fails where nobody listens", async () => {
    const address = await serve(() => undefined);
    await expect(kafkaRequest({ ...address, port: 1 }, api, nullArray)).rejects.toThrow("ECONNREFUSED");
  });
});
