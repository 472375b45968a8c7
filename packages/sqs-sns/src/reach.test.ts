import type { VirtualClock } from "@posthorn/core/testing";
import { createVirtualClock } from "@posthorn/core/testing";
import { describe, expect, test } from "vitest";
import type { Aws } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import type { Reach } from "./reach.ts";
import { createReach } from "./reach.ts";

const never = new AbortController().signal;
const url = "http://sqs/queue";

const cut = (): RequestFailure => new RequestFailure("read ECONNRESET", { sent: true });
const refusedBy = (code: string, httpStatus: number): RequestFailure =>
  new RequestFailure("No.", { sent: true, code, httpStatus });
const badKeys = (): RequestFailure => refusedBy("InvalidClientTokenId", 403);

/** What a request ends with; `hang` is until its signal fires. */
type Fate = "answer" | "hang" | RequestFailure | Promise<never>;

interface Setup {
  readonly clock: VirtualClock;
  readonly reach: Reach;
  /** What was told, in order. */
  readonly told: string[];
  /** Of probes from now on. */
  probes: Fate;
  /** How often was probed. */
  readonly probed: number;
  /** Of all else from now on. */
  requests: Fate;
  readonly closed: boolean;
  readonly poll: (signal?: AbortSignal) => Promise<unknown>;
  readonly send: (signal?: AbortSignal) => Promise<unknown>;
  readonly publish: (signal?: AbortSignal) => Promise<unknown>;
}

function setup(): Setup {
  const clock = createVirtualClock();
  const told: string[] = [];
  let probed = 0;
  let closed = false;
  const ends = async <T>(fate: Fate, answer: T, signal: AbortSignal): Promise<T> => {
    await Promise.resolve();
    if (fate instanceof RequestFailure) throw fate;
    if (fate instanceof Promise) return fate;
    if (fate === "answer") return answer;
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  };
  const given = {
    sqs: {
      queueUrl(_: string, signal: AbortSignal) {
        probed++;
        return ends(state.probes, undefined, signal);
      },
      send: (_: string, __: readonly unknown[], signal: AbortSignal) => ends(state.requests, [], signal),
      receive: (_: string, __: unknown, signal: AbortSignal) => ends(state.requests, [], signal),
    },
    sns: { publish: (_: string, __: readonly unknown[], signal: AbortSignal) => ends(state.requests, [], signal) },
    close() {
      closed = true;
    },
  };
  const reach = createReach({
    aws: given as unknown as Aws,
    settings: { region: "eu-central-1", endpoint: undefined, prefix: "" },
    environment: { clock, random: () => 0 },
    onConnected: () => told.push("connected"),
    onDisconnected: (error) => told.push(`disconnected: ${error.message}`),
    onRefused: () => told.push("refused"),
  });
  const state: Setup = {
    clock,
    reach,
    told,
    probes: "answer",
    get probed() {
      return probed;
    },
    requests: "answer",
    get closed() {
      return closed;
    },
    poll: (signal = never) =>
      reach.aws.sqs.receive(url, { maxMessages: 1, waitSeconds: 20, visibilitySeconds: 30 }, signal),
    send: (signal = never) => reach.aws.sqs.send(url, [], signal),
    publish: (signal = never) => reach.aws.sns.publish("arn", [], signal),
  };
  return state;
}

async function started(): Promise<Setup> {
  const state = setup();
  await state.reach.start(never);
  await state.clock.advance(60_000);
  return state;
}

/** Lets what a failure sets off run. */
const settled = (clock: VirtualClock): Promise<void> => clock.advance(0);

test("before it has started nothing can be reached", () => {
  const { reach } = setup();
  expect(reach).toMatchObject({ connected: false, closed: false });
  expect(reach.outage.aborted).toBe(true);
});

describe("start", () => {
  test("needs no permission: whatever is answered to the probe will do", async () => {
    for (const fate of ["answer", refusedBy("AccessDenied", 403), refusedBy("InternalFailure", 500)] as const) {
      const state = setup();
      state.probes = fate;
      await state.reach.start(never);
      expect(state.told).toEqual(["connected"]);
      expect(state.reach.connected).toBe(true);
    }
  });

  test("tries again until SQS answers", async () => {
    const state = setup();
    state.probes = cut();
    const starting = state.reach.start(never);
    await state.clock.advance(10_000);
    expect(state.told).toEqual([]);
    expect(state.probed).toBe(8);
    state.probes = "answer";
    await state.clock.advance(3_000);
    await starting;
    expect(state.told).toEqual(["connected"]);
  });

  test("rejects at once when the credentials are refused", async () => {
    const state = setup();
    state.probes = badKeys();
    await expect(state.reach.start(never)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    expect(state.clock.pending).toBe(0);
    expect(state.probed).toBe(1);
  });

  test("tells the last failure when the signal fires, and leaves nothing running", async () => {
    const state = setup();
    const failure = cut();
    state.probes = failure;
    const signal = new AbortController();
    const starting = state.reach.start(signal.signal);
    starting.catch(() => undefined);
    await state.clock.advance(5_000);
    signal.abort();
    await expect(starting).rejects.toMatchObject({ code: "CONNECTION_FAILED", cause: failure });
    const { probed } = state;
    await state.clock.advance(60_000);
    expect(state.probed).toBe(probed);
    expect(state.clock.pending).toBe(0);
    expect(state.told).toEqual([]);
  });

  test("gives up a probe without an answer when the signal fires", async () => {
    const state = setup();
    state.probes = "hang";
    const signal = new AbortController();
    const starting = state.reach.start(signal.signal);
    await settled(state.clock);
    signal.abort(new Error("enough"));
    await expect(starting).rejects.toMatchObject({
      code: "CONNECTION_FAILED",
      message: "SQS could not be reached in time at eu-central-1: enough",
    });
  });

  test.each(["hang", "cut"] as const)("ends with CLOSED when it is closed meanwhile: %s", async (fate) => {
    const state = setup();
    state.probes = fate === "hang" ? "hang" : cut();
    const starting = state.reach.start(never);
    starting.catch(() => undefined);
    await settled(state.clock);
    state.reach.close();
    await expect(starting).rejects.toMatchObject({ code: "CLOSED" });
    expect(state.clock.pending).toBe(0);
  });
});

describe("an outage", () => {
  test("begins with a request that gets no answer, and ends with a probe that does; both are told once", async () => {
    const state = await started();
    state.probes = state.requests = cut();
    const { outage } = state.reach;
    await Promise.all([
      expect(state.poll()).rejects.toThrow("ECONNRESET"),
      expect(state.send()).rejects.toThrow("ECONNRESET"),
    ]);
    expect(outage.aborted).toBe(true);
    expect(state.reach.connected).toBe(false);
    await expect(state.send()).rejects.toThrow("ECONNRESET");
    const ready = state.reach.ready(never);
    await state.clock.advance(30_000);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET"]);
    state.probes = "answer";
    await state.clock.advance(3_000);
    await ready;
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET", "connected"]);
    expect(state.reach.outage.aborted).toBe(false);
    expect(state.reach.connected).toBe(true);
  });

  test("is over at once when only a connection broke", async () => {
    const state = await started();
    state.requests = cut();
    await expect(state.poll()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET", "connected"]);
  });

  test("has its requests that fail belatedly, which begin no other one", async () => {
    const state = await started();
    state.requests = "hang";
    const stuck = new AbortController();
    const poll = state.poll(stuck.signal);
    poll.catch(() => undefined);
    state.requests = cut();
    await expect(state.send()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    stuck.abort(cut());
    await expect(poll).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET", "connected"]);
  });

  test("that follows closely on another one is probed more and more slowly", async () => {
    const state = await started();
    state.requests = cut();
    for (const waitMs of [0, 100, 200, 400, 800, 1_600, 3_000, 3_000]) {
      await expect(state.poll()).rejects.toThrow("ECONNRESET");
      await state.clock.advance(Math.max(0, waitMs - 1));
      expect(state.reach.connected).toBe(waitMs === 0);
      await state.clock.advance(1);
      expect(state.reach.connected).toBe(true);
    }
    await state.clock.advance(10_000);
    await expect(state.poll()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    expect(state.reach.connected).toBe(true);
  });

  test("does not come of what SQS answers", async () => {
    const state = await started();
    for (const fate of [
      refusedBy("InternalFailure", 500),
      refusedBy("ServiceUnavailable", 503),
      refusedBy("RequestThrottled", 400),
      refusedBy("AccessDenied", 403),
      refusedBy("QueueDoesNotExist", 400),
    ]) {
      state.requests = fate;
      await expect(state.send()).rejects.toBe(fate);
    }
    await settled(state.clock);
    expect(state.told).toEqual(["connected"]);
    expect(state.probed).toBe(1);
  });

  test("lasts while the credentials are refused, which is told once", async () => {
    const state = await started();
    state.requests = cut();
    state.probes = badKeys();
    await expect(state.send()).rejects.toThrow("ECONNRESET");
    await state.clock.advance(30_000);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET", "refused"]);
    state.probes = "answer";
    await state.clock.advance(3_000);
    expect(state.told.at(-1)).toBe("connected");
  });

  test("begins when the credentials end", async () => {
    const state = await started();
    state.requests = state.probes = badKeys();
    await expect(state.send()).rejects.toMatchObject({ code: "InvalidClientTokenId" });
    await state.clock.advance(30_000);
    expect(state.told).toEqual(["connected", "disconnected: No.", "refused"]);
  });

  test("does not begin when one request's credentials are refused, and others' are not", async () => {
    const state = await started();
    state.requests = badKeys();
    await expect(state.publish()).rejects.toMatchObject({ code: "InvalidClientTokenId" });
    await settled(state.clock);
    expect(state.told).toEqual(["connected"]);
    expect(state.probed).toBe(2);
  });

  test("is looked for when SNS gives no answer", async () => {
    const state = await started();
    state.requests = cut();
    await expect(state.publish()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    expect(state.told).toEqual(["connected"]);
    state.probes = cut();
    await expect(state.publish()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET"]);
  });
});

describe("a request that its caller gives up", () => {
  const givenUp = async (state: Setup, request: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
    state.requests = "hang";
    const signal = new AbortController();
    const asked = request(signal.signal);
    const reason = new Error("enough");
    setImmediate(() => signal.abort(reason));
    await expect(asked).rejects.toBe(reason);
    await settled(state.clock);
  };

  test("is a reason to ask, and an outage when there is no answer", async () => {
    const state = await started();
    await givenUp(state, state.send);
    expect(state.probed).toBe(2);
    expect(state.told).toEqual(["connected"]);
    state.probes = cut();
    await givenUp(state, state.send);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET"]);
  });

  test("is none when others were answered meanwhile", async () => {
    const state = await started();
    await givenUp(state, async (signal) => {
      const sending = state.send(signal);
      state.requests = "answer";
      await state.poll();
      return sending;
    });
    expect(state.probed).toBe(1);
  });

  test("is none when it is a poll", async () => {
    const state = await started();
    await givenUp(state, state.poll);
    expect(state.probed).toBe(1);
  });

  test("is no second outage when one came and went while it was asked about", async () => {
    const state = await started();
    const asked = Promise.withResolvers<never>();
    state.probes = asked.promise;
    await givenUp(state, state.send);
    state.probes = "answer";
    state.requests = cut();
    await expect(state.poll()).rejects.toThrow("ECONNRESET");
    await settled(state.clock);
    asked.reject(cut());
    await settled(state.clock);
    expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET", "connected"]);
  });

  test("is asked about once at a time", async () => {
    const state = await started();
    state.probes = "hang";
    await givenUp(state, state.send);
    await givenUp(state, state.send);
    expect(state.probed).toBe(2);
  });
});

describe("ready", () => {
  test("rejects as soon as its signal fires", async () => {
    const state = await started();
    await state.reach.ready(never);
    await expect(state.reach.ready(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
    state.requests = state.probes = cut();
    await expect(state.send()).rejects.toThrow("ECONNRESET");
    const signal = new AbortController();
    const waiting = state.reach.ready(signal.signal);
    signal.abort();
    await expect(waiting).rejects.toMatchObject({ code: "ABORTED" });
  });

  test("rejects with CLOSED when it is closed", async () => {
    const state = await started();
    state.requests = state.probes = cut();
    await expect(state.send()).rejects.toThrow("ECONNRESET");
    const waiting = state.reach.ready(never);
    state.reach.close();
    await expect(waiting).rejects.toMatchObject({ code: "CLOSED" });
    await expect(state.reach.ready(never)).rejects.toMatchObject({ code: "CLOSED" });
  });
});

test("closed, it ends all there is, tells nothing more, and never comes back", async () => {
  const state = await started();
  state.requests = state.probes = cut();
  await expect(state.send()).rejects.toThrow("ECONNRESET");
  await state.clock.advance(5_000);
  state.reach.close();
  state.reach.close();
  state.probes = "answer";
  await state.clock.advance(60_000);
  await expect(state.poll()).rejects.toThrow("ECONNRESET");
  expect(state.told).toEqual(["connected", "disconnected: read ECONNRESET"]);
  expect(state.reach).toMatchObject({ connected: false, closed: true });
  expect(state.reach.outage.aborted).toBe(true);
  expect(state.closed).toBe(true);
  expect(state.clock.pending).toBe(0);
});
