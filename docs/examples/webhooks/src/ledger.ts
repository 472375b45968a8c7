// Keeps count of what became of every message, by its id, from what the buses tell: so a duplicate counts once.
import type { BusEvent, Observe } from "@posthorn/core";

export interface Account {
  readonly handled: Set<string>;
  readonly dead: Map<string, string>;
  readonly failedOnce: Set<string>;
  /** Handlings by instance, duplicates included. */
  readonly byInstance: Map<string, number>;
}

export interface Ledger {
  readonly published: Set<string>;
  readonly commands: Set<string>;
  account(group: string): Account;
  /** An observer for one bus. */
  observe(instance: string): Observe;
  /** Resolves once the condition holds; checked whenever something happens. */
  until(condition: () => boolean, timeoutMs: number): Promise<boolean>;
}

export function createLedger(tell: (line: string) => void): Ledger {
  const published = new Set<string>();
  const commands = new Set<string>();
  const accounts = new Map<string, Account>();
  const disconnected = new Set<string>();
  let waiting: (() => void)[] = [];

  const account = (group: string): Account => {
    let found = accounts.get(group);
    if (found === undefined) {
      found = { handled: new Set(), dead: new Map(), failedOnce: new Set(), byInstance: new Map() };
      accounts.set(group, found);
    }
    return found;
  };

  const record = (instance: string, event: BusEvent): void => {
    switch (event.name) {
      case "message.sent":
        (event.channel.kind === "topic" ? published : commands).add(event.id);
        break;
      case "message.handled": {
        const { handled, byInstance } = account(event.message.group);
        handled.add(event.message.id);
        byInstance.set(instance, (byInstance.get(instance) ?? 0) + 1);
        break;
      }
      case "message.failed":
        account(event.message.group).failedOnce.add(event.message.id);
        break;
      case "message.dead-lettered":
        account(event.message.group).dead.set(event.message.id, event.reason);
        tell(
          `  ✗ ${instance} gave up ${event.message.id}: ${String(event.error instanceof Error ? event.error.message : event.error)}`,
        );
        break;
      case "transport.disconnected":
        disconnected.add(instance);
        tell(`  ~ ${instance}: ${event.detail}`);
        break;
      case "transport.connected":
        if (disconnected.delete(instance)) tell(`  ~ ${instance} is connected again`);
        break;
      default:
    }
    for (const check of waiting) check();
  };

  return {
    published,
    commands,
    account,
    observe: (instance) => (event) => record(instance, event),
    until(condition, timeoutMs) {
      return new Promise((resolve) => {
        const finish = (result: boolean): void => {
          clearTimeout(timer);
          waiting = waiting.filter((other) => other !== check);
          resolve(result);
        };
        const check = (): void => {
          if (condition()) finish(true);
        };
        const timer = setTimeout(() => finish(condition()), timeoutMs);
        waiting.push(check);
        check();
      });
    },
  };
}
