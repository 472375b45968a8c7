import type { Handler } from "@posthorn/core";
import type { Keyed } from "./contracts.ts";
import type { Numbered } from "./schema.ts";
import type { World } from "./world.ts";

/**
 * Shows that the instances of a group have all joined it, and have their share. Whoever comes later may take over what others have,
 * and where only a prefix is settled some of that comes again.
 */
export interface RollCall<Data> {
  /** The handler of an instance, which answers the calls itself and passes everything else on. */
  answering(instance: string, handler: Handler<Data>): Handler<Data>;
  /** Sends calls until every instance has answered one. */
  complete(send: (call: Data) => Promise<unknown>): Promise<void>;
}

export function numberedRollCall(world: World): RollCall<Numbered> {
  return createRollCall(world, { call: (count) => ({ n: -1 - count }), isCall: ({ n }) => n < 0 });
}

/**
 * The same on an ordered channel. Where each message is settled on its own it calls nobody: nothing comes again there because somebody
 * joins, and not everybody need have keys.
 */
export function keyedRollCall(world: World): RollCall<Keyed> {
  const rollCall = createRollCall<Keyed>(world, {
    call: (count) => ({ key: `roll-call-${count}`, seq: 0 }),
    isCall: ({ key }) => key.startsWith("roll-call-"),
  });
  if (world.harness.capabilities.settlement === "prefix") return rollCall;
  return { answering: (_, handler) => handler, complete: async () => undefined };
}

interface Calls<Data> {
  readonly call: (count: number) => Data;
  readonly isCall: (data: Data) => boolean;
}

function createRollCall<Data>(world: World, { call, isCall }: Calls<Data>): RollCall<Data> {
  const silent = new Set<string>();
  let count = 0;
  return {
    answering(instance, handler) {
      silent.add(instance);
      return (message, context) => {
        if (!isCall(message.data)) return handler(message, context);
        silent.delete(instance);
        return undefined;
      };
    },
    async complete(send) {
      await world.eventually(
        "every instance to have its share",
        async () => {
          if (silent.size === 0) return true;
          await send(call(count++));
          return false;
        },
        { withinMs: world.bounds.redeliveryMs, seen: () => [...silent] },
      );
    },
  };
}
