/** M: the transport's own part, which the bus's limit of handlers would hide. */
import assert from "node:assert/strict";
import type { Consumption, Settlement } from "@posthorn/core/transport";
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import type { ContractCase } from "../case.ts";
import { numbers } from "../contracts.ts";
import { plainMessage } from "../messages.ts";
import { plain, queueTopology } from "../topology.ts";
import type { World } from "../world.ts";
import { inlet } from "../world.ts";

/** A transport that holds deliveries until told to settle them. */
async function holding(world: World, maxInFlight: number): Promise<Holding> {
  const channel = world.queue();
  const info = plain(channel);
  const source = inletAddress(info, info.name);
  const transport = await world.transport(queueTopology(channel));
  const held: ((settlement: Settlement) => void)[] = [];
  let received = 0;
  let most = 0;
  const consumption = await transport.consume(
    source,
    () =>
      new Promise((resolve) => {
        received++;
        held.push(resolve);
        most = Math.max(most, held.length);
      }),
    { ...world.waiting, maxInFlight },
  );
  world.defer(async () => {
    const stopping = consumption.stop();
    for (const settle of held.splice(0)) settle("release");
    await stopping;
  });
  return {
    consumption,
    held,
    received: () => received,
    most: () => most,
    waiting: () => world.waitingBeside(inlet(channel), held.length),
    async dispatch(count) {
      const receipts = await transport.dispatch(
        numbers(count).map(() => ({ address: channelAddress(info), message: plainMessage() })),
        world.waiting,
      );
      assert.ok(receipts.every((receipt) => receipt.accepted));
    },
    accept(count) {
      for (const settle of held.splice(0, count)) settle("accept");
    },
    async successor() {
      let taken = 0;
      const another = await world.transport(queueTopology(channel));
      const intake = await another.consume(
        source,
        async (): Promise<Settlement> => {
          taken++;
          return "accept";
        },
        { ...world.waiting, maxInFlight },
      );
      world.defer(() => intake.stop());
      return () => taken;
    },
  };
}

interface Holding {
  readonly consumption: Consumption;
  readonly held: readonly unknown[];
  readonly received: () => number;
  readonly most: () => number;
  /** What is on the broker and not here. */
  readonly waiting: () => Promise<number>;
  readonly dispatch: (count: number) => Promise<void>;
  readonly accept: (count: number) => void;
  /** Starts another one, which accepts what it gets. @returns how many that were */
  readonly successor: () => Promise<() => number>;
}

export const inFlightCases: readonly ContractCase[] = [
  {
    id: "M1t",
    title: "a transport delivers as many at a time as it is told, exactly, and leaves the rest on the broker",
    tier: "core",
    async run(world) {
      const { dispatch, held, waiting, accept, most, received } = await holding(world, 3);
      await dispatch(10);
      await world.eventually("three deliveries", () => held.length === 3);
      await world.eventually("seven to stay on the broker", async () => (await waiting()) === 7);
      while (received() < 10) {
        const before = received();
        accept(1);
        await world.eventually("the next delivery", () => received() > before);
      }
      accept(3);
      await world.eventually("nothing to be left", async () => (await waiting()) === 0);
      assert.deepEqual([most(), received()], [3, 10]);
    },
  },
  {
    id: "M2t",
    title: "a transport that is resized delivers more at once, and fewer once what is pending has finished",
    tier: "core",
    async run(world) {
      const { consumption, dispatch, held, accept, received, waiting } = await holding(world, 1);
      await dispatch(12);
      await world.eventually("one delivery", () => held.length === 1);
      consumption.resize(4);
      await world.eventually("four deliveries", () => held.length === 4);
      consumption.resize(2);
      accept(1);
      accept(1);
      await world.eventually("eight to stay on the broker", async () => (await waiting()) === 8);
      assert.equal(received(), 4, "what is pending is left to finish first");
      accept(1);
      await world.eventually("the fifth delivery", () => received() === 5);
      while (received() < 12) {
        const before = received();
        accept(1);
        await world.eventually("the next delivery", () => received() > before);
        assert.ok(held.length <= 2, `two at a time, not ${held.length}`);
      }
      accept(2);
      await world.eventually("nothing to be left", async () => (await waiting()) === 0);
    },
  },
  {
    id: "M5t",
    title: "a paused transport delivers nothing to anybody, and everything once it is resumed",
    tier: "core",
    async run(world) {
      const { consumption, dispatch, held, accept, received, waiting } = await holding(world, 4);
      await dispatch(2);
      await world.eventually("two deliveries", () => held.length === 2);
      consumption.pause();
      consumption.pause();
      await dispatch(3);
      accept(1);
      await world.eventually("three to wait on the broker", async () => (await waiting()) === 3, {
        seen: () => received(),
      });
      assert.equal(received(), 2);
      consumption.resume();
      await world.eventually("all five deliveries, four at a time", () => received() === 5, { seen: () => received() });
      consumption.pause();
      consumption.resume();
      await dispatch(1);
      accept(5);
      await world.eventually("the last delivery", () => received() === 6);
      accept(1);
      await world.eventually("nothing to be left", async () => (await waiting()) === 0);
    },
  },
  {
    id: "M6",
    title: "an intake that was stopped receives nothing more, and what it had not received goes to others",
    tier: "core",
    async run(world) {
      const { consumption, dispatch, held, accept, received, waiting, successor } = await holding(world, 2);
      await dispatch(6);
      await world.eventually("two deliveries", () => held.length === 2);
      await world.within("the intake to stop", consumption.stop());
      accept(1);
      await world.eventually(
        "the four that were not received to be on the broker",
        async () => (await waiting()) === 4,
        {
          withinMs: world.bounds.redeliveryMs,
        },
      );
      accept(1);
      await dispatch(1);
      await world.eventually("five to wait", async () => (await waiting()) === 5);
      const taken = await successor();
      await world.eventually("another one to get the five", () => taken() === 5, {
        withinMs: world.bounds.redeliveryMs,
      });
      await world.eventually("nothing to be left", async () => (await waiting()) === 0);
      assert.equal(received(), 2, "none after stop");
      await consumption.stop();
    },
  },
];
