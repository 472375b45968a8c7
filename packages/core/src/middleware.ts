import type { Context, Received } from "./handler.ts";
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

type Next = () => Promise<void>;

/** Goes round something: given what it is about, and what is inside. */
export type Around<Subject> = (subject: Subject, next: Next) => Promise<void>;

/** One function out of many, the first outermost; `undefined` when there are none, so that the caller can leave the frames out. */
export function compose<Subject>(hooks: readonly Around<Subject>[]): Around<Subject> | undefined {
  if (hooks.length === 0) return undefined;
  return hooks.reduceRight((inner, outer) => (subject, next) => outer(subject, () => inner(subject, next)));
}

/** What goes round every attempt of a handler. */
export type AroundHandling = Around<{ readonly message: Received<unknown>; readonly context: Context }>;

/** What goes round every send and publish. */
export type AroundPublish = Around<{ readonly message: Message; readonly contract: AnyContract }>;

export function composeHandling(middleware: readonly Middleware[]): AroundHandling | undefined {
  const hooks: AroundHandling[] = [];
  for (const one of middleware) {
    const handle = one.handle?.bind(one);
    if (handle !== undefined) hooks.push(({ message, context }, next) => handle(message, context, next));
  }
  return compose(hooks);
}

export function composePublish(middleware: readonly Middleware[]): AroundPublish | undefined {
  const hooks: AroundPublish[] = [];
  for (const one of middleware) {
    const publish = one.publish?.bind(one);
    if (publish !== undefined) hooks.push(({ message, contract }, next) => publish(message, contract, next));
  }
  return compose(hooks);
}
