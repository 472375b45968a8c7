/** Waiting for a state to come about, for as long as a signal allows. */
export interface Changes {
  /** Whether the condition held before the signal fired. It is looked at first, and at every announcement. */
  until(condition: () => boolean, signal: AbortSignal): Promise<boolean>;
  /** To be called whenever something has changed. */
  announce(): void;
}

export function createChanges(): Changes {
  const waiting = new Set<() => void>();
  return {
    until: (condition, signal) =>
      new Promise((resolve) => {
        const look = (): void => {
          const holds = condition();
          if (!holds && !signal.aborted) return;
          waiting.delete(look);
          signal.removeEventListener("abort", look);
          resolve(holds);
        };
        waiting.add(look);
        signal.addEventListener("abort", look);
        look();
      }),
    announce() {
      for (const look of waiting) look();
    },
  };
}
