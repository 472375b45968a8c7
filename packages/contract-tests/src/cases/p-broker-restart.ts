/** P: the broker comes late, goes away, and comes back. */
import assert from "node:assert/strict";
import type { Bus, Transport } from "@posthorn/core";
import { isPosthornError, PosthornError } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { numbers, workOf } from "../contracts.ts";
import type { Recorder } from "../recorder.ts";
import { rejectsWith } from "../rejects.ts";
import type { Numbered } from "../schema.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";
import { wrapTransport } from "../wrap-transport.ts";

/** Bad credentials are told at once: this is far below any backoff's end. */
const refusedWithinMs = 5_000;

const transportEvents = (world: World, bus: Bus): readonly string[] =>
  world.events(bus).flatMap((event) => ("detail" in event ? [`${event.name}: ${event.detail}`] : []));

interface UnderLoad {
  readonly bus: Bus;
  readonly got: Recorder<Numbered>;
  readonly confirmed: readonly number[];
}

/** Kills the broker while messages are sent and handled, starts it again, and goes on until publishing works. */
async function killUnderLoad(world: World): Promise<UnderLoad> {
  const contract = workOf(world.queue());
  const bus = world.bus("shop");
  const got = world.recorder<Numbered>(() => new Promise((resolve) => setImmediate(resolve)));
  bus.handle(contract, got.handler);
  await bus.start();
  const confirmed: number[] = [];
  const failures = new Map<string, number>();
  let next = 0;
  const sendSome = (count: number): Promise<unknown> =>
    Promise.all(
      numbers(count).map(async () => {
        const n = next++;
        await bus.send(contract, { n }, { timeoutMs: world.bounds.resumeMs }).then(
          () => confirmed.push(n),
          (error: unknown) => {
            const code = isPosthornError(error) ? error.code : String(error);
            failures.set(code, (failures.get(code) ?? 0) + 1);
          },
        );
      }),
    );
  await sendSome(200);
  let killed = false;
  const killing = world.faults.killBroker().finally(() => (killed = true));
  const waves: Promise<unknown>[] = [];
  while (!killed) {
    const wave = sendSome(50);
    waves.push(wave);
    await Promise.race([wave, killing]);
  }
  await killing;
  await world.event(bus, "transport.disconnected", 1, world.bounds.detectMs);
  waves.push(sendSome(20));
  await world.faults.startBroker();
  await Promise.all(waves);
  await world.eventually(
    "sending to work again",
    async () => {
      const before = confirmed.length;
      await sendSome(10);
      return confirmed.length >= before + 10;
    },
    {
      withinMs: 2 * world.bounds.resumeMs,
      seen: () => ({
        failures,
        health: bus.health(),
        transportEvents: transportEvents(world, bus),
      }),
    },
  );
  return { bus, got, confirmed };
}

/** For brokers that know no credentials: a transport that is refused, as the contract of transports says. */
function refused(transport: Transport): Transport {
  return wrapTransport(transport, {
    connect: () => Promise.reject(new PosthornError("AUTHENTICATION_FAILED", "The broker refused the credentials.")),
  });
}

export const brokerRestartCases: readonly ContractCase[] = [
  {
    id: "P1",
    title:
      "when the broker is killed under load and comes back, nothing that was confirmed is lost and consumers resume unaided",
    tier: "fault",
    slowness: 2,
    needs: ["durable"],
    async run(world) {
      const { bus, got, confirmed } = await killUnderLoad(world);
      const handled = new Set<number>();
      let counted = 0;
      /** Looks at new calls only: it is asked after every event, and must not keep the heartbeats waiting. */
      const missing = (): number[] => {
        for (; counted < got.calls.length; counted++) handled.add(got.calls[counted]?.data.n ?? Number.NaN);
        return handled.size < confirmed.length ? [Number.NaN] : confirmed.filter((n) => !handled.has(n));
      };
      await world.eventually("everything confirmed to be handled", () => missing().length === 0, {
        withinMs: world.bounds.resumeMs + world.bounds.redeliveryMs,
        seen: () => ({
          confirmed: confirmed.length,
          handled: handled.size,
          missing: confirmed.filter((n) => !handled.has(n)).slice(0, 10),
          health: bus.health(),
          transportEvents: transportEvents(world, bus),
        }),
      });
      await world.drained([bus], [inlet(world.queue())], world.bounds.resumeMs);
      await world.closeAndFindEmpty([bus], [inlet(world.queue()), deadLetters(world.queue())]);
    },
    inverse: {
      title:
        "when the broker is killed under load and comes back, perhaps empty, topology and consumers come back unaided",
      async run(world) {
        const { bus, got, confirmed } = await killUnderLoad(world);
        const last = confirmed.at(-1) ?? assert.fail("nothing was confirmed");
        await world.eventually(
          "what was confirmed last to be handled",
          () => got.calls.some((call) => call.data.n === last),
          { withinMs: world.bounds.resumeMs },
        );
        await world.drained([bus], [inlet(world.queue())], world.bounds.resumeMs);
        await world.closeAndFindEmpty([bus], [inlet(world.queue())]);
      },
    },
  },
  {
    id: "P2",
    title: "a bus that starts before the broker is up connects when it comes",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      await link.down();
      const bus = world.bus("shop", { transport: link.openTransport() });
      const got = world.recorder<Numbered>();
      bus.handle(contract, got.handler);
      const starting = bus.start({ timeoutMs: 2 * world.bounds.resumeMs });
      await world.eventually("the bus to be starting", () => bus.health().status === "starting");
      await rejectsWith("NOT_STARTED", () => bus.send(contract, { n: 0 }), "send before start has resolved");
      await link.restore();
      await world.within("start", starting, world.bounds.resumeMs);
      await bus.send(contract, { n: 1 });
      await got.waitFor(1);
    },
  },
  {
    id: "P2d",
    title:
      "a bus that cannot reach the broker fails by its deadline with CONNECTION_FAILED and the cause, or when it is aborted",
    tier: "fault",
    async run(world) {
      const contract = workOf(world.queue());
      const link = await world.faults.openLink();
      world.defer(() => link.close());
      await link.down();
      const bus = world.bus("shop", { transport: link.openTransport() });
      bus.declare(contract);
      const error = await rejectsWith(
        "CONNECTION_FAILED",
        () => world.within("start to fail", bus.start({ timeoutMs: 500 }), 500 + world.bounds.patienceMs),
        "start without a broker",
      );
      assert.ok(error.cause !== undefined, "the last failure is its cause");
      assert.equal(bus.health().status, "closed", "a failed start closes the bus");
      const aborted = world.bus("shop", { transport: link.openTransport() });
      aborted.declare(contract);
      const giveUp = new AbortController();
      const starting = rejectsWith(
        ["ABORTED", "CONNECTION_FAILED"],
        () => aborted.start({ signal: giveUp.signal }),
        "start that was aborted",
      );
      await world.eventually("the bus to be starting", () => aborted.health().status === "starting");
      giveUp.abort();
      await world.within("start to be given up", starting);
    },
  },
  {
    id: "P2b",
    title: "wrong credentials fail at once with AUTHENTICATION_FAILED, and are not tried again and again",
    tier: "core",
    async run(world) {
      const bus = world.bus("shop", {
        transport: world.harness.openWithWrongCredentials?.() ?? refused(world.harness.openTransport()),
      });
      bus.declare(workOf(world.queue()));
      const error = await rejectsWith(
        ["AUTHENTICATION_FAILED", "ACCESS_REFUSED"],
        () => world.within("start to fail", bus.start({ timeoutMs: 60_000 }), refusedWithinMs),
        "start with wrong credentials",
      );
      assert.equal(bus.health().status, "closed");
      assert.doesNotMatch(
        `${error.message} ${String(error.cause)} ${JSON.stringify(error.details)}`,
        /wrong-secret/,
        "no secret in the error",
      );
    },
  },
];
