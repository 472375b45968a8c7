/**
 * An async iterable of what `produce` emits, one at a time: `emit` resolves when the next one is asked for. Nothing runs before the first is
 * asked for; `ended` fires when whoever iterates stops early, and the iteration ends once `produce` has.
 */
export async function* iterate<Item>(
  produce: (emit: (item: Item) => Promise<void>, ended: AbortSignal) => Promise<void>,
): AsyncGenerator<Item, void, void> {
  const ending = new AbortController();
  let emitted = Promise.withResolvers<{ readonly item: Item } | undefined>();
  let asked = Promise.withResolvers<void>();
  const producing = produce(async (item) => {
    asked = Promise.withResolvers<void>();
    emitted.resolve({ item });
    await asked.promise;
  }, ending.signal);
  producing.then(
    () => emitted.resolve(undefined),
    (error: unknown) => emitted.reject(error),
  );
  try {
    for (;;) {
      const next = await emitted.promise;
      if (next === undefined) return;
      emitted = Promise.withResolvers();
      // Whoever iterates never has to look at it.
      emitted.promise.catch(() => undefined);
      yield next.item;
      asked.resolve();
    }
  } finally {
    ending.abort();
    asked.resolve();
    await producing.catch(() => undefined);
  }
}
