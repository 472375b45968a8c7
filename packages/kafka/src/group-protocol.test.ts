import { AssignerProtocol } from "kafkajs";
import { describe, expect, test } from "vitest";
import { decodeAssignment, decodeSubscription, encodeAssignment, encodeSubscription } from "./group-protocol.ts";

const { MemberAssignment, MemberMetadata } = AssignerProtocol;

describe("a subscription", () => {
  test.each([
    [["orders", "orders.retry"], '{"held":["ä"]}'],
    [[], ""],
  ])("of %j is what kafkajs makes of it", (topics, userData) => {
    const encoded = encodeSubscription(topics, userData);
    expect(Buffer.from(encoded)).toEqual(
      MemberMetadata.encode({ version: 0, topics, userData: Buffer.from(userData) }),
    );
    expect(decodeSubscription(encoded)).toBe(userData);
  });

  test("of somebody else may have no user data, or more behind it", () => {
    const withoutData = Buffer.from("0000 00000001 0001 61 ffffffff".replaceAll(" ", ""), "hex");
    expect(decodeSubscription(withoutData)).toBe("");
    const ownedPartitions = Buffer.from("0001 00000001 0001 61 00000001 62 00000000".replaceAll(" ", ""), "hex");
    expect(decodeSubscription(ownedPartitions)).toBe("b");
  });

  test("that is cut off is an error", () => {
    const encoded = encodeSubscription(["orders"], "data");
    expect(() => decodeSubscription(encoded.subarray(0, -1))).toThrow("damaged");
  });
});

describe("an assignment", () => {
  test("is what kafkajs makes of it", () => {
    const partitions = [
      { topic: "orders", partition: 2 },
      { topic: "orders.retry", partition: 2 },
      { topic: "orders", partition: 300 },
    ];
    const encoded = encodeAssignment(partitions, "data");
    const assignment = { orders: [2, 300], "orders.retry": [2] };
    expect(Buffer.from(encoded)).toEqual(
      MemberAssignment.encode({ version: 0, assignment, userData: Buffer.from("data") }),
    );
    expect(decodeAssignment(encoded)).toEqual({
      partitions: [
        { topic: "orders", partition: 2 },
        { topic: "orders", partition: 300 },
        { topic: "orders.retry", partition: 2 },
      ],
      userData: "data",
    });
  });

  test("of nothing is what kafkajs makes of it", () => {
    const encoded = encodeAssignment([], "");
    expect(Buffer.from(encoded)).toEqual(
      MemberAssignment.encode({ version: 0, assignment: {}, userData: Buffer.alloc(0) }),
    );
    expect(decodeAssignment(encoded)).toEqual({ partitions: [], userData: "" });
  });

  test("that the leader did not make is one of nothing", () => {
    expect(decodeAssignment(new Uint8Array())).toEqual({ partitions: [], userData: "" });
  });

  test("that is cut off is an error", () => {
    const encoded = encodeAssignment([{ topic: "orders", partition: 2 }], "data");
    expect(() => decodeAssignment(encoded.subarray(0, -1))).toThrow("damaged");
  });
});
