import type { Timer } from "@posthorn/core/transport";
import type { Slot } from "./assignment.ts";
import { slotId } from "./assignment.ts";
import type { HeldWindow } from "./places.ts";
import type { Entry } from "./window.ts";

/** A slot while this member holds it. What is open here is void as soon as `lost` fires. */
export class HeldSlot {
  readonly slot: Slot;
  readonly id: string;
  readonly #lost = new AbortController();
  /** Empty until it is known where to begin. */
  windows: readonly HeldWindow[] = [];
  /** It is being found out where to begin, and written down that we do. */
  opening = false;
  /** Nothing more is taken from it; it is given up when nothing of it is open any more. */
  draining = false;
  /** Entries that wait for their time, and what ends the wait. */
  readonly holding: Map<Entry, { readonly window: HeldWindow; readonly timer: Timer }> = new Map();

  constructor(slot: Slot) {
    this.slot = slot;
    this.id = slotId(slot);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Records may be taken from it. */
  get active(): boolean {
    return !this.draining && !this.#lost.signal.aborted;
  }

  /** Entries that are in somebody's hands. */
  get open(): number {
    return this.windows.reduce((open, window) => open + window.open, 0);
  }

  /** What waits for its time waits with the next holder. */
  drain(): void {
    this.draining = true;
    for (const [entry, { window, timer }] of this.holding) {
      timer.cancel();
      window.giveBack(entry);
    }
    this.holding.clear();
  }

  void(reason: Error): void {
    this.drain();
    this.#lost.abort(reason);
  }
}
