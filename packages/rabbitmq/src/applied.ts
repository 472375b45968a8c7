/** What was applied, to make it exist again where the broker has lost it. */
import type { TransportEnvironment } from "@posthorn/core/transport";
import type { Connection } from "./connection.ts";
import type { Declaration } from "./declarations.ts";
import { deadLetterArgument } from "./declarations.ts";
import { dueExchange, ladderDeclarations } from "./ladder.ts";
import { provision } from "./provision.ts";

export interface AppliedTopology {
  remember(declarations: readonly Declaration[]): void;
  /** Anything was applied. */
  readonly any: boolean;
  hasQueue(name: string): boolean;
  /** Makes a queue exist again, with its dead letters and bindings. */
  restoreQueue(connection: Connection, queue: string, signal: AbortSignal): Promise<void>;
  /** Makes the delay ladder exist again, and its ways to our queues. */
  restoreLadder(connection: Connection, signal: AbortSignal): Promise<void>;
}

export function createAppliedTopology(environment: TransportEnvironment): AppliedTopology {
  const applied = new Map<string, Declaration>();
  const belongsTo = (queue: string): ((declaration: Declaration) => boolean) => {
    const names = new Set([queue]);
    for (const declaration of applied.values()) {
      if (declaration.kind === "binding" && declaration.destination === queue) names.add(declaration.exchange);
      if (declaration.kind === "queue" && declaration.name === queue)
        names.add(String(declaration.arguments[deadLetterArgument]));
    }
    // Of the exchanges only themselves: what else is bound to them is not the queue's.
    return (declaration) =>
      declaration.kind === "binding" ? declaration.destination === queue : names.has(declaration.name);
  };
  return {
    get any() {
      return applied.size > 0;
    },
    remember(declarations) {
      for (const declaration of declarations) applied.set(declaration.id, declaration);
    },
    hasQueue(name) {
      return applied.has(`queue ${name}`);
    },
    async restoreQueue(connection, queue, signal) {
      const order = { exchange: 0, queue: 1, binding: 2 };
      const declarations = [...applied.values()].filter(belongsTo(queue)).sort((a, b) => order[a.kind] - order[b.kind]);
      await provision(connection, declarations, "apply", signal, environment);
    },
    async restoreLadder(connection, signal) {
      const ways = [...applied.values()].filter(
        (declaration) => declaration.kind === "binding" && declaration.exchange === dueExchange,
      );
      await provision(connection, [...ladderDeclarations, ...ways], "apply", signal, environment);
    },
  };
}
