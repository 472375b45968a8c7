import assert from "node:assert/strict";
import type { Transport } from "@posthorn/core";
import type { Verdict, Visit, WalkOptions } from "@posthorn/core/transport";
import { deadLetterAddress } from "@posthorn/core/transport";
import { numbers } from "./contracts.ts";
import { plainMessage } from "./messages.ts";
import { plain, queueTopology } from "./topology.ts";
import type { World } from "./world.ts";
import { deadLetters } from "./world.ts";

export interface Walking {
  readonly transport: Transport;
  /** Goes through the dead letters. */
  readonly walk: (visit: (id: string) => Verdict | Promise<Verdict>, options?: Partial<WalkOptions>) => Promise<void>;
  /** The ids of those that are there, in their order. */
  readonly ids: () => Promise<readonly string[]>;
  readonly ready: () => Promise<number>;
}

/** Dead letters with the ids `0`, `1`, … */
export async function walking(world: World, count: number): Promise<Walking> {
  const channel = world.queue();
  const address = deadLetterAddress(plain(channel), channel.name);
  const transport = await world.transport(queueTopology(channel));
  for (const n of numbers(count)) {
    const [receipt] = await transport.dispatch([{ address, message: plainMessage({ id: String(n) }) }], world.waiting);
    assert.ok(receipt?.accepted);
  }
  const walk = (visit: Visit, options: Partial<WalkOptions> = {}): Promise<void> =>
    transport.admin.walk(address, visit, { ...world.waiting, limit: 1_000, maxPending: 1, ...options });
  return {
    transport,
    walk: (visit, options) => walk(async ({ id }) => visit(id), options),
    async ids() {
      const ids: string[] = [];
      await walk(async ({ id }) => {
        ids.push(id);
        return "keep";
      });
      return ids;
    },
    ready: () => world.native.ready(deadLetters(channel)),
  };
}

/** Ids of {@link walking}. */
export const named = (...ns: readonly number[]): string[] => ns.map(String);
