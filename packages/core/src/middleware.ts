import type { Context, Received } from "./bus.ts";
import type { AnyContract } from "./contract.ts";
import type { Message } from "./message.ts";

/** Something that goes round every handler or every publish. Give either hook or both. */
export interface Middleware {
  /**
   * Goes round each attempt of a handler. What `next` throws is the handler's failure; what this throws counts as one too.
   * Not calling `next` means handled.
   */
  handle?(message: Received<unknown>, context: Context, next: () => Promise<void>): Promise<void>;
  /** Goes round each send and publish, once the message is encoded. What it throws reaches the caller, and nothing is sent unless `next` was called. */
  publish?(message: Message, contract: AnyContract, next: () => Promise<void>): Promise<void>;
}

type Around<Args extends readonly unknown[]> = (...args: readonly [...Args, next: () => Promise<void>]) => Promise<void>;

/** One function out of many, the first outermost; `undefined` when there are none, so that the caller can leave the frames out. */
export function compose<Args extends readonly unknown[]>(hooks: readonly Around<Args>[]): Around<Args> | undefined {
  if (hooks.length === 0) return undefined;
  return hooks.reduceRight<Around<Args>>(
    (inner, outer) =>
      (...args) => {
        const given = args.slice(0, -1) as unknown as Args;
        const innermost = args[args.length - 1] as () => Promise<void>;
        return outer(...given, () => inner(...given, innermost));
      },
    (...args) => (args[args.length - 1] as () => Promise<void>)(),
  );
}
