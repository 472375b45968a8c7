/** Tells those that take too long that their time is up: one timer for all of them. */
import type { Clock, Timer } from "./clock.ts";

export interface Overdue<Item extends object> {
  began(item: Item): void;
  ended(item: Item): void;
}

/**
 * @param limitMs how long each may take
 * @param onOverdue called once for each that takes longer
 */
export function createOverdue<Item extends object>(
  clock: Clock,
  limitMs: number,
  onOverdue: (item: Item) => void,
): Overdue<Item> {
  /** When each is due, the earliest first, since all have the same time. */
  const running = new Map<Item, number>();
  let timer: Timer | undefined;

  const watch = (): void => {
    const [due] = running.values();
    if (timer !== undefined || due === undefined) return;
    timer = clock.setTimeout(tell, Math.max(0, due - clock.monotonic()), { unref: true });
  };

  const tell = (): void => {
    timer = undefined;
    const now = clock.monotonic();
    for (const [item, due] of running) {
      if (due > now) break;
      running.delete(item);
      onOverdue(item);
    }
    watch();
  };

  return {
    began(item) {
      running.set(item, clock.monotonic() + limitMs);
      watch();
    },
    ended(item) {
      running.delete(item);
      if (running.size > 0) return;
      timer?.cancel();
      timer = undefined;
    },
  };
}
