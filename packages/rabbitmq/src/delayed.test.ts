import type { Message, Outbound, Receipt } from "@posthorn/core/transport";
import { accepted, channelAddress, failed, PosthornError } from "@posthorn/core/transport";
import { expect, test } from "vitest";
import { sendApart } from "./apart.ts";
import { createDelayed } from "./delayed.ts";
import type { Route } from "./names.ts";
import { routeOf } from "./names.ts";

const orders = channelAddress({ kind: "queue", name: "orders", ordered: true });
const { signal } = new AbortController();
const noExchange: Receipt = failed(new PosthornError("UNROUTABLE", "no exchange"));

function message(id: string, key: string): Outbound {
  return { address: orders, message: { id, key, type: "t", notBefore: 200 } as Message };
}

/** `exists` knows the queues that do not; `answers` are those of the ladder, one call after the other. */
function delayed(options: { missing?: readonly string[]; answers?: readonly Receipt[]; restorable?: boolean }) {
  const sent: string[] = [];
  const answers = [...(options.answers ?? [])];
  let restores = 0;
  const send = createDelayed({
    async send(outbound, route: Route) {
      sent.push(outbound.map(({ message: { id } }) => id).join());
      expect(route).toMatchObject({ exchange: "posthorn.delay", mandatory: true });
      const answer = answers.shift() ?? accepted;
      return outbound.map(() => answer);
    },
    exists: async (_kind, name) => options.missing?.includes(name) !== true,
    async restoreLadder() {
      restores++;
      return options.restorable ?? true;
    },
    now: () => 0,
    longestDelayMs: 1_000,
  });
  const dispatch = async (...outbound: Outbound[]): Promise<string> => {
    const receipts = await send(outbound, routeOf(orders), signal);
    return receipts.map((receipt) => (receipt.accepted ? "accepted" : receipt.error.code)).join();
  };
  return { dispatch, sent, restores: () => restores };
}

test("what has a destination goes up the ladder", async () => {
  const { dispatch, sent } = delayed({});
  expect(await dispatch(message("1", "a"), message("2", "2"))).toBe("accepted,accepted");
  expect(sent).toEqual(["1,2"]);
});

test("what has none is refused before, and takes no other with it", async () => {
  const { dispatch, sent } = delayed({ missing: ["orders.shard.4"] });
  expect(await dispatch(message("1", "2"), message("2", "a"), message("3", "3"))).toBe("accepted,UNROUTABLE,accepted");
  expect(sent).toEqual(["1,3"]);
});

test("a ladder that is missing is made again, and what it refused is sent once more", async () => {
  const { dispatch, sent, restores } = delayed({ answers: [noExchange, accepted] });
  expect(await dispatch(message("1", "a"))).toBe("accepted");
  expect(sent).toEqual(["1", "1"]);
  expect(restores()).toBe(1);
});

test("one that cannot be made again is no fault of the destination", async () => {
  const { dispatch } = delayed({ answers: [noExchange], restorable: false });
  expect(await dispatch(message("1", "a"))).toBe("TRANSPORT_FAILED");
  const broken = delayed({ answers: [noExchange, noExchange] });
  expect(await broken.dispatch(message("1", "a"))).toBe("TRANSPORT_FAILED");
});

test("receipts of what was sent apart come back in the order of the messages", async () => {
  const outbound = ["1", "2", "3", "4"].map((id) => message(id, "a"));
  const receiptOf = (side: string) => (part: readonly Outbound[]) =>
    part.map(({ message: { id } }) => failed(new PosthornError("REJECTED", `${side}${id}`)));
  let even = false;
  const receipts = await sendApart(outbound, () => (even = !even), receiptOf("a"), receiptOf("b"));
  expect(receipts.map((receipt) => !receipt.accepted && receipt.error.message)).toEqual(["a1", "b2", "a3", "b4"]);
});
