/** A way to SQS and SNS on which a share of all requests goes wrong, by a plan that a seed fixes. */
import type { HttpFault } from "./brokers/http-faults.ts";
import type { HttpLink } from "./brokers/http-link.ts";
import { openHttpLink } from "./brokers/http-link.ts";

export interface FaultyLink extends AsyncDisposable {
  readonly link: HttpLink;
  /** How many requests have had each fault. */
  readonly faults: Readonly<Record<string, number>>;
  /** From now on all goes well. */
  heal(): void;
}

/** What AWS, or the way there, does to a request now and then. */
const kinds: Readonly<Record<string, (random: () => number) => HttpFault>> = {
  "HTTP 500": () => ({ kind: "error", error: "internal" }),
  "HTTP 503": () => ({ kind: "error", error: "unavailable" }),
  throttled: () => ({ kind: "error", error: "throttled" }),
  "throttled otherwise": () => ({
    kind: "error",
    error: { status: 400, code: "ThrottlingException", senderFault: true },
  }),
  "entries failed": (random) => {
    const failed = Array.from({ length: 10 }, () => random() < 0.5);
    return {
      kind: "fail-entries",
      fails: (index) => failed[index] === true,
      error: { status: 200, code: "InternalError", senderFault: false },
    };
  },
  "entries throttled": (random) => {
    const failed = Array.from({ length: 10 }, () => random() < 0.5);
    return {
      kind: "fail-entries",
      fails: (index) => failed[index] === true,
      error: { status: 200, code: "RequestThrottled", senderFault: true },
    };
  },
  "reset before": () => ({ kind: "reset", when: "before" }),
  "reset after": () => ({ kind: "reset", when: "after" }),
  "cut answer": () => ({ kind: "cut-answer" }),
  "no answer": (random) => ({ kind: "silence", when: random() < 0.5 ? "before" : "after" }),
  slow: (random) => ({ kind: "delay", ms: Math.floor(random() * 2_000) }),
};

/** @param share of the requests, from 0 to 1 */
export async function openFaultyLink(endpoint: string, seed: number, share: number): Promise<FaultyLink> {
  const random = seeded(seed);
  const names = Object.keys(kinds);
  const faults: Record<string, number> = {};
  let ill = true;
  const link = await openHttpLink(endpoint, {
    onRequest({ action }) {
      if (!ill || random() >= share) return undefined;
      const name = names[Math.floor(random() * names.length)] ?? "";
      const fault = kinds[name]?.(random);
      if (fault === undefined) return undefined;
      faults[name] = (faults[name] ?? 0) + 1;
      // For this one: it is looked for a fault next.
      link.inject(fault, { actions: [action], times: 1 });
      return undefined;
    },
  });
  return { link, faults, heal: () => void (ill = false), [Symbol.asyncDispose]: () => link.close() };
}

/** Numbers in [0, 1) that a seed gives. Source: mulberry32, Tommy Ettinger. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
