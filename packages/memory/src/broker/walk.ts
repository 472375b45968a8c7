/** An administrator's way through what waits at a source. */
import type { Clock, Timer } from "@posthorn/core/transport";
import type { StoredRecord, Visited, Walk } from "./source.ts";

export interface WalkSettings {
  readonly clock: Clock;
  /** How long the walker may be silent before what it visits is back. */
  readonly leaseMs: number;
}

/** What a walk does to its source. */
export interface Steps<Item> {
  /** Puts it out of the members' sight, where it is; `undefined` when it waits no more. */
  hide(item: Item): StoredRecord | undefined;
  /** Puts it back into sight, or removes it. */
  show(item: Item, remove: boolean): void;
}

/** @param waiting what waits now, oldest first; let go of as the walk goes on */
export function createWalk<Item>(waiting: readonly Item[], steps: Steps<Item>, settings: WalkSettings): Walk {
  const { clock, leaseMs } = settings;
  const left = waiting.toReversed();
  const pending = new Set<Visited>();
  let open = true;
  let lastSeen = clock.now();
  let expiry: Timer | undefined;

  function end(): void {
    open = false;
    expiry?.cancel();
    expiry = undefined;
    left.length = 0;
    for (const visited of pending) visited.end(false);
  }

  function watch(): void {
    expiry = clock.setTimeout(
      () => {
        if (lastSeen + leaseMs <= clock.now()) end();
        else watch();
      },
      Math.max(0, lastSeen + leaseMs - clock.now()),
      { unref: true },
    );
  }

  function visit(item: Item, record: StoredRecord): Visited {
    const visited: Visited = {
      record,
      end(remove) {
        if (pending.delete(visited)) steps.show(item, remove);
      },
    };
    pending.add(visited);
    return visited;
  }

  watch();
  return {
    get open() {
      return open;
    },
    next() {
      for (let item = left.pop(); item !== undefined; item = left.pop()) {
        const record = steps.hide(item);
        if (record !== undefined) return visit(item, record);
      }
      return undefined;
    },
    heartbeat() {
      lastSeen = clock.now();
    },
    end,
  };
}
