import type { Bus, DeadLetterChannel, QueueContract } from "@posthorn/core";
import { deadLetter } from "@posthorn/core";
import { numbers, workOf } from "./contracts.ts";
import type { Recorder } from "./recorder.ts";
import type { Numbered } from "./schema.ts";
import type { World } from "./world.ts";

export interface Morgue {
  readonly contract: QueueContract<Numbered, Numbered>;
  readonly bus: Bus;
  readonly got: Recorder<Numbered>;
  readonly dead: DeadLetterChannel;
  readonly ids: readonly string[];
  /** From now on the handler handles. */
  readonly repair: () => void;
}

/** A queue whose messages 0, 1, … are all dead, in this order, after one attempt each. */
export async function morgue(world: World, count: number): Promise<Morgue> {
  const contract = workOf(world.queue());
  const bus = world.bus("shop");
  let broken = true;
  const got = world.recorder<Numbered>(() => {
    if (broken) throw deadLetter("broken");
  });
  const subscription = bus.handle(contract, got.handler);
  await bus.start();
  const ids: string[] = [];
  for (const n of numbers(count)) {
    ids.push((await bus.send(contract, { n })).id);
    await world.event(bus, "message.dead-lettered", n + 1);
  }
  return { contract, bus, got, dead: subscription.deadLetters, ids, repair: () => void (broken = false) };
}
