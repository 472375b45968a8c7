/** One thing at a time for each key, in the order of the calls. Different keys know nothing of each other. */
export interface KeyLanes {
  /** Keys that are busy. */
  readonly size: number;
  /** Runs `work` when everything that was given for the key before has ended, however it ended. */
  run<Result>(key: string, work: () => Promise<Result>): Promise<Result>;
}

export function createKeyLanes(): KeyLanes {
  /** Busy keys, and who waits for them. Bounded by the deliveries that a subscription holds. */
  const lanes = new Map<string, (() => void)[]>();

  const leave = (key: string): void => {
    const next = lanes.get(key)?.shift();
    if (next === undefined) lanes.delete(key);
    else next();
  };

  return {
    get size() {
      return lanes.size;
    },
    async run(key, work) {
      const lane = lanes.get(key);
      if (lane === undefined) lanes.set(key, []);
      else await new Promise<void>((resolve) => lane.push(resolve));
      try {
        return await work();
      } finally {
        leave(key);
      }
    },
  };
}
