/**
 * The message that the running code handles, so that what it sends without its context joins the same flow. A default only:
 * a context's own `send` and `publish` need none of this.
 */
import type { Message } from "./message.ts";

interface Storage {
  run<Result>(store: Message, callback: () => Result): Result;
  getStore(): Message | undefined;
}

/** Asked for at run time, so that contracts can be imported where there is no `node:async_hooks`. */
function openStorage(): Storage | undefined {
  const hooks = globalThis.process?.getBuiltinModule?.("node:async_hooks");
  return hooks === undefined ? undefined : new hooks.AsyncLocalStorage<Message>();
}

const storage = openStorage();

/** Runs `callback` as part of handling `message`. */
export function runHandling<Result>(message: Message, callback: () => Result): Result {
  return storage === undefined ? callback() : storage.run(message, callback);
}

/** The message being handled, if any. */
export function handledMessage(): Message | undefined {
  return storage?.getStore();
}
