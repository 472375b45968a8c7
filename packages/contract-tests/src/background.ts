/** Failures that nobody caught belong to the cases that ran at that moment. */

export interface BackgroundWatch {
  readonly failures: readonly unknown[];
  end(): void;
}

const watches = new Set<{ failures: unknown[] }>();

function note(failure: unknown): void {
  for (const watch of watches) watch.failures.push(failure);
}

export function watchBackground(): BackgroundWatch {
  if (watches.size === 0) {
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
  }
  const watch = { failures: [] as unknown[] };
  watches.add(watch);
  return {
    failures: watch.failures,
    end() {
      watches.delete(watch);
      if (watches.size > 0) return;
      process.off("unhandledRejection", note);
      process.off("uncaughtException", note);
    },
  };
}
