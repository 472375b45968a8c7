/** X: what chance makes. */
import assert from "node:assert/strict";
import type { Message, Settlement } from "@posthorn/core/transport";
import { channelAddress, inletAddress } from "@posthorn/core/transport";
import { sample } from "fast-check";
import { hex, text } from "../bytes.ts";
import { anyMessage } from "../any-message.ts";
import type { ContractCase } from "../case.ts";
import { numbers } from "../contracts.ts";
import type { Death, History } from "../history.ts";
import { excerptOf, violationsOf } from "../history.ts";
import { createRandomRun } from "../random-run.ts";
import { plain, queueTopology } from "../topology.ts";
import type { World } from "../world.ts";
import { deadLetters, inlet } from "../world.ts";

async function randomRun(world: World, seed: number): Promise<void> {
  const { bounds } = world;
  // Faults are what this is about; a copy that the broker did not take at once is no surprise.
  world.tolerate("message.handover-failed", "transport.failed");
  const run = createRandomRun(world, seed);
  await run.start();
  await run.run();
  const places = [
    ...run.services.map((group) => inlet(run.event.channel, group)),
    inlet(run.command.channel, run.command.channel.name),
  ];
  // A message that is lost is told below, with its history.
  await world
    .eventually("everything to end", () => run.unfinished().length === 0, {
      withinMs: bounds.resumeMs + bounds.redeliveryMs,
    })
    .catch(() => undefined);
  await world.drained(run.buses(), places, bounds.resumeMs);
  const operator = world.bus("operator");
  await operator.start();
  const deathsOf = async (channel: "topic" | "queue"): Promise<readonly Death[]> => {
    const groups = channel === "topic" ? run.services : [undefined];
    const contract = channel === "topic" ? run.event : run.command;
    const found = await Promise.all(
      groups.map((group) => operator.deadLetters(contract.channel, group).browse({ limit: 1_000 })),
    );
    return found
      .flat()
      .map(({ message, group, attempts }) => ({ id: message.id, group, attempts, body: text(message.body) }));
  };
  for (const channel of ["topic", "queue"] as const) {
    const history: History = { ...run.history(channel), deaths: await deathsOf(channel) };
    const violations = violationsOf(history);
    if (violations.length > 0)
      assert.fail(
        `seed ${seed}, the ${channel} (${history.handlings.length} handlings): ${excerptOf(history, violations)}`,
      );
    assert.ok(history.handlings.length > 0, "something was handled");
  }
  await world.closeAndFindEmpty([...run.buses(), operator], places);
}

const randomRuns: readonly ContractCase[] = numbers(10).map((n) => ({
  id: `X4-${n + 1}`,
  title: `random work and random faults (seed ${n + 1}) leave a history without violations`,
  tier: "fault",
  slowness: 2,
  needs: ["ordering"],
  run: (world) => randomRun(world, n + 1),
}));

const envelopeOf = ({ headers, body, ...envelope }: Message): object => ({
  ...envelope,
  headers: { ...headers },
  body: hex(body),
});

export const randomCases: readonly ContractCase[] = [
  {
    id: "X1",
    title: "two hundred arbitrary messages arrive as they were sent: every property, every header, every byte",
    tier: "core",
    async run(world) {
      const channel = world.queue();
      const info = plain(channel);
      const transport = await world.transport(queueTopology(channel));
      const seed = Date.now() % 1_000_000;
      const messages = sample(anyMessage, { numRuns: 200, seed }).map((message, index) => ({
        ...message,
        id: `${index} ${message.id}`,
      }));
      const arrived = new Map<string, Message>();
      let deliveries = 0;
      const consumption = await transport.consume(
        inletAddress(info, info.name),
        async ({ message, defect }): Promise<Settlement> => {
          deliveries++;
          assert.equal(defect, undefined);
          arrived.set(message.id, message);
          return "accept";
        },
        { ...world.waiting, maxInFlight: 50 },
      );
      world.defer(() => consumption.stop());
      const receipts = await transport.dispatch(
        messages.map((message) => ({ address: channelAddress(info), message })),
        world.waiting,
      );
      for (const [index, receipt] of receipts.entries())
        assert.ok(
          receipt.accepted,
          `seed ${seed}, message ${index} was refused: ${receipt.accepted ? "" : receipt.error.message}`,
        );
      await world.eventually("all of them", () => deliveries >= messages.length, {
        seen: () => ({ seed, arrived: arrived.size, deliveries }),
      });
      for (const message of messages) {
        const found = arrived.get(message.id);
        assert.ok(found !== undefined, `seed ${seed}: ${JSON.stringify(message.id)} did not arrive under its id`);
        assert.deepEqual(envelopeOf(found), envelopeOf(message), `seed ${seed}, message ${JSON.stringify(message.id)}`);
      }
      await world.eventually(
        "nothing to be left",
        async () => (await world.native.ready(inlet(channel))) + (await world.native.ready(deadLetters(channel))) === 0,
      );
      assert.equal(deliveries, messages.length);
    },
  },
  ...randomRuns,
];
