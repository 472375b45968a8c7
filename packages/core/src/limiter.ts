/**
 * At most `limit` holders at a time, first come first served. The limit can change, and intake can pause, at any time;
 * those who hold are left to finish.
 */
export interface Limiter {
  limit: number;
  readonly held: number;
  paused: boolean;
  /** True (or a promise of it) once there is room; false when the limiter is closed. Each true is given back with `release`. */
  acquire(): boolean | Promise<boolean>;
  release(): void;
  /** Everyone who waits, and whoever comes later, gets false. */
  close(): void;
}

export function createLimiter(initialLimit: number): Limiter {
  let limit = initialLimit;
  let held = 0;
  let paused = false;
  let closed = false;
  let waiting: ((granted: boolean) => void)[] = [];
  /** Where the first that waits stands. */
  let first = 0;

  const grant = (): void => {
    while (!paused && held < limit && first < waiting.length) {
      const next = waiting[first++];
      held++;
      next?.(true);
    }
    // Taking each from the front would move all the others.
    if (first * 2 >= waiting.length) {
      waiting = waiting.slice(first);
      first = 0;
    }
  };

  return {
    get limit() {
      return limit;
    },
    set limit(value) {
      limit = value;
      grant();
    },
    get held() {
      return held;
    },
    get paused() {
      return paused;
    },
    set paused(value) {
      paused = value;
      grant();
    },
    acquire() {
      if (closed) return false;
      if (!paused && held < limit) {
        held++;
        return true;
      }
      return new Promise((resolve) => waiting.push(resolve));
    },
    release() {
      held--;
      grant();
    },
    close() {
      closed = true;
      const refused = waiting.slice(first);
      waiting = [];
      first = 0;
      for (const refuse of refused) refuse(false);
    },
  };
}
