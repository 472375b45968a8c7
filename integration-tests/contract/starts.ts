/** Counts the handlers that a doomed consumer has started. */
export interface Starts {
  readonly started: (messageId: string) => void;
  readonly reached: (count: number) => Promise<void>;
}

export function createStarts(): Starts {
  const ids: string[] = [];
  const waiting = new Map<number, () => void>();
  return {
    started(messageId) {
      waiting.get(ids.push(messageId))?.();
    },
    reached(count) {
      if (ids.length >= count) return Promise.resolve();
      return new Promise((resolve) => waiting.set(count, resolve));
    },
  };
}
