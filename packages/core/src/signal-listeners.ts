/**
 * One listener for each signal, however many wait for it: a signal that is shared by thousands of sends would otherwise carry
 * thousands of listeners, and removing one walks them all.
 */
export interface SignalListeners<Waiting> {
  add(signal: AbortSignal, waiting: Waiting): void;
  remove(signal: AbortSignal, waiting: Waiting): void;
}

/** @param onAbort called once for everything that still waits when its signal fires */
export function createSignalListeners<Waiting>(
  onAbort: (waiting: Waiting, reason: unknown) => void,
): SignalListeners<Waiting> {
  const listened = new Map<AbortSignal, { readonly waiting: Set<Waiting>; readonly listener: () => void }>();
  return {
    add(signal, waiting) {
      const known = listened.get(signal);
      if (known !== undefined) {
        known.waiting.add(waiting);
        return;
      }
      const all = new Set([waiting]);
      const listener = (): void => {
        listened.delete(signal);
        for (const one of all) onAbort(one, signal.reason);
      };
      listened.set(signal, { waiting: all, listener });
      signal.addEventListener("abort", listener, { once: true });
    },
    remove(signal, waiting) {
      const known = listened.get(signal);
      if (known === undefined) return;
      known.waiting.delete(waiting);
      if (known.waiting.size > 0) return;
      listened.delete(signal);
      signal.removeEventListener("abort", known.listener);
    },
  };
}
