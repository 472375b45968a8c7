/** D: the instances of one group share its messages. */
import assert from "node:assert/strict";
import type { Bus, Handler, QueueContract } from "@posthorn/core";
import type { ContractCase } from "../case.ts";
import { handledNumbers, numbers, workOf } from "../contracts.ts";
import type { Recorder } from "../recorder.ts";
import { numberedRollCall } from "../roll-call.ts";
import type { Numbered } from "../schema.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

interface Instance {
  readonly bus: Bus;
  readonly got: Recorder<Numbered>;
}

async function startInstance(
  world: World,
  contract: QueueContract<Numbered, Numbered>,
  around: (handler: Handler<Numbered>) => Handler<Numbered> = (handler) => handler,
): Promise<Instance> {
  const bus = world.bus("billing", { concurrency: 4 });
  // A handler that yields, so that no instance can empty the queue before the others have looked.
  const got = world.recorder<Numbered>(() => new Promise((resolve) => setImmediate(resolve)));
  bus.handle(contract, around(got.handler));
  await bus.start();
  return { bus, got };
}

const handledBy = (instances: readonly Instance[]): number[] =>
  handledNumbers(instances.flatMap(({ got }) => got.calls));

export const competingConsumersCases: readonly ContractCase[] = [
  {
    id: "D1",
    title: "four instances handle 1,000 messages between them: none lost, none twice, every instance some",
    tier: "core",
    slowness: 2,
    async run(world) {
      const contract = workOf(world.queue());
      const rollCall = numberedRollCall(world);
      const instances = await Promise.all(
        numbers(4).map((n) =>
          startInstance(world, contract, (handler) => rollCall.answering(`instance ${n}`, handler)),
        ),
      );
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      await rollCall.complete((call) => sender.send(contract, call));
      await Promise.all(numbers(1_000).map((n) => sender.send(contract, { n })));
      await world.eventually("1,000 calls", () => handledBy(instances).length >= 1_000, {
        withinMs: 4 * world.bounds.patienceMs,
        seen: () => instances.map(({ got }) => got.calls.length),
      });
      await world.closeAndFindEmpty(
        instances.map(({ bus }) => bus),
        [inlet(contract.channel), deadLetters(contract.channel)],
      );
      assert.deepEqual(handledBy(instances), numbers(1_000));
      for (const { got } of instances)
        assert.ok(
          got.calls.length > 0,
          `every instance gets some: ${instances.map((each) => each.got.calls.length).join(", ")}`,
        );
    },
  },
  {
    id: "D2",
    title: "scaling from one instance to four and back while messages come in loses none",
    tier: "core",
    slowness: 2,
    async run(world) {
      const contract = workOf(world.queue());
      const instances = [await startInstance(world, contract)];
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      let sent = 0;
      const sendSome = (): Promise<unknown> =>
        Promise.all(numbers(100).map(() => sender.send(contract, { n: sent++ })));
      const [, more] = [await sendSome(), sendSome()];
      instances.push(...(await Promise.all(numbers(3).map(() => startInstance(world, contract)))));
      await more;
      const last = sendSome();
      await Promise.all(instances.slice(1).map(({ bus }) => bus.close()));
      await last;
      await sendSome();
      await world.eventually("every message to be handled", () => new Set(handledBy(instances)).size === sent, {
        withinMs: 2 * world.bounds.patienceMs + world.bounds.redeliveryMs,
        seen: () => instances.map(({ got }) => got.calls.length),
      });
      await world.closeAndFindEmpty(
        instances.map(({ bus }) => bus),
        [inlet(contract.channel), deadLetters(contract.channel)],
      );
      const handled = handledBy(instances);
      // A log may hand a partition over behind a gap; a queue has no such window.
      if (world.harness.capabilities.settlement === "message") assert.deepEqual(handled, numbers(sent));
      else assert.deepEqual([...new Set(handled)], numbers(sent));
    },
  },
  {
    id: "D3",
    title: "ten instances that open and close at the same moment leave the queue to the one that stays",
    tier: "core",
    async run(world) {
      const contract = workOf(world.queue());
      const instances = await Promise.all(numbers(10).map(() => startInstance(world, contract)));
      await Promise.all(instances.map(({ bus }) => bus.close()));
      const [stays] = await Promise.all([
        startInstance(world, contract),
        startInstance(world, contract).then(({ bus }) => bus.close()),
      ]);
      const sender = world.bus("shop");
      sender.declare(contract);
      await sender.start();
      await Promise.all(numbers(50).map((n) => sender.send(contract, { n })));
      await stays.got.waitFor(50);
      await world.closeAndFindEmpty([stays.bus], [inlet(contract.channel)]);
      assert.deepEqual(handledBy([stays]), numbers(50));
    },
  },
];
