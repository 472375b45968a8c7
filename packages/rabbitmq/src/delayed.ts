/** Dispatching what is not due yet: to the delay ladder, once it is known that the destination exists. */
import type { Outbound, Receipt } from "@posthorn/core/transport";
import { isPosthornError } from "@posthorn/core/transport";
import { sendApart } from "./apart.ts";
import { delayedRoute } from "./ladder.ts";
import type { Lookup } from "./lookup.ts";
import type { Route } from "./names.ts";
import * as receipts from "./receipts.ts";

/** Publishes messages that have the route in common; never rejects. */
export type Send = (outbound: readonly Outbound[], route: Route, signal: AbortSignal) => Promise<readonly Receipt[]>;

export interface DelayedOptions {
  readonly send: Send;
  readonly exists: Lookup;
  /** Makes the ladder exist again, where it is ours to make. */
  readonly restoreLadder: (signal: AbortSignal) => Promise<boolean>;
  readonly now: () => number;
  readonly longestDelayMs: number;
}

export function createDelayed({ send, exists, restoreLadder, now, longestDelayMs }: DelayedOptions): Send {
  /** The ladder takes a message for anywhere, so that nobody else would say that there is no such place. */
  const missingDestinations = async (
    outbound: readonly Outbound[],
    route: Route,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Receipt>> => {
    const missing = new Map<string, Receipt>();
    for (const name of new Set(outbound.map((message) => destinationOf(message, route)))) {
      const kind = route.exchange === "" ? "queue" : "exchange";
      if (!(await exists(kind, name, signal))) missing.set(name, receipts.missing(kind, name));
    }
    return missing;
  };

  const sendUp: Send = async (outbound, route, signal) => {
    const up = delayedRoute(route, now, longestDelayMs);
    const first = await send(outbound, up, signal);
    const refused = outbound.filter((_, index) => isUnroutable(first[index]));
    if (refused.length === 0) return first;
    // Parts of the ladder are gone, as after an operator's deletion.
    const restored = await restoreLadder(signal).catch(() => false);
    const second = restored ? await send(refused, up, signal) : [];
    let next = 0;
    return first.map((receipt) => {
      if (!isUnroutable(receipt)) return receipt;
      const again = second[next++];
      return again === undefined || isUnroutable(again) ? receipts.noLadder() : again;
    });
  };

  return async (outbound, route, signal) => {
    try {
      const missing = await missingDestinations(outbound, route, signal);
      if (missing.size === 0) return await sendUp(outbound, route, signal);
      const refusalOf = (message: Outbound): Receipt | undefined => missing.get(destinationOf(message, route));
      return await sendApart(
        outbound,
        (message) => refusalOf(message) !== undefined,
        (lost) => lost.map((message) => refusalOf(message) ?? receipts.noLadder()),
        (others) => sendUp(others, route, signal),
      );
    } catch (error) {
      return receipts.complete(outbound, undefined, error);
    }
  };
}

function destinationOf({ message }: Outbound, route: Route): string {
  return route.exchange === "" ? route.routingKey(message) : route.exchange;
}

/** On the ladder it means the ladder itself. */
function isUnroutable(receipt: Receipt | undefined): boolean {
  return receipt?.accepted === false && isPosthornError(receipt.error, "UNROUTABLE");
}
