/** Hands records out as deliveries: at most so many at a time, from all partitions in turn, and takes their settlements. */
import type { Delivery, Message, Receive, Settlement, TransportEnvironment } from "@posthorn/core/transport";
import { decodeRecord } from "./decode.ts";
import type { HeldSlot } from "./held-slot.ts";
import type { HeldWindow } from "./places.ts";
import { survived } from "./starts.ts";
import type { Entry } from "./window.ts";

export interface DeliveriesOptions {
  readonly environment: TransportEnvironment;
  readonly receive: Receive;
  readonly ordered: boolean;
  readonly maxInFlight: number;
  readonly paused: boolean;
  /** Those whose records are for `receive`. */
  readonly slots: () => readonly HeldSlot[];
  /** Its time has not come: somebody else keeps the entry. */
  readonly onEarly: (slot: HeldSlot, window: HeldWindow, entry: Entry, notBefore: number) => void;
  /** Whether the window's next entry may be handed out with others. If not, it is `beginAlone` that decides. */
  readonly isSuspect: (window: HeldWindow) => boolean;
  /** Resolves true when the entry is to be handed out now; then nothing else that is suspect is until it has come back. */
  readonly beginAlone: (slot: HeldSlot, window: HeldWindow, entry: Entry) => Promise<boolean>;
  readonly onSettled: (slot: HeldSlot) => void;
}

export interface Deliveries {
  /** Calls of `receive` that have not come back, those of lost leases included. */
  readonly pending: number;
  readonly maxInFlight: number;
  paused: boolean;
  /** Something may be handed out. */
  wake(): void;
  resize(maxInFlight: number): void;
  /** For good. */
  stop(): void;
}

/** Handed out in one turn of the event loop; then timers and sockets get theirs. */
const burst = 256;

export function createDeliveries(options: DeliveriesOptions): Deliveries {
  const { environment, receive, ordered } = options;
  const { clock } = environment;
  let { maxInFlight, paused } = options;
  let pending = 0;
  let stopped = false;
  let woken = false;
  let turn = 0;
  let aloneBusy = false;
  /** On an ordered channel what is pending can be taken back singly. */
  const handedOut = new Map<Entry, KafkaDelivery>();

  function wake(): void {
    if (woken || stopped) return;
    woken = true;
    setImmediate(() => {
      woken = false;
      handOut();
    });
  }

  function handOut(): void {
    const windows = options
      .slots()
      .flatMap((slot) => (slot.active ? slot.windows.map((window) => ({ slot, window })) : []));
    let idle = 0;
    for (let count = 0; !stopped && !paused && pending < maxInFlight && idle < windows.length; turn++) {
      const next = windows[turn % windows.length];
      if (next === undefined || !handOutNext(next.slot, next.window)) idle++;
      else {
        idle = 0;
        if (++count >= burst) {
          wake();
          return;
        }
      }
    }
  }

  function handOutNext(slot: HeldSlot, window: HeldWindow): boolean {
    const head = window.peek();
    if (head?.record === undefined || !slot.active) return false;
    const suspect = options.isSuspect(window);
    if (suspect && (aloneBusy || window.open > 0)) return false;
    const entry = window.take();
    if (entry?.record === undefined) return false;
    const { message, defect } = decodeRecord(entry.record);
    if (entry.record.value === null && message.type === "") {
      // A tombstone that names no type is for the broker: it ends what a compacted topic has of its key.
      window.settle(entry);
      options.onSettled(slot);
    } else if (defect === undefined && message.notBefore !== undefined && message.notBefore > clock.now())
      options.onEarly(slot, window, entry, message.notBefore);
    else if (suspect) void handOutAlone(slot, window, entry, message, defect);
    else deliver(slot, window, entry, message, defect);
    return true;
  }

  async function handOutAlone(
    slot: HeldSlot,
    window: HeldWindow,
    entry: Entry,
    message: Message,
    defect: string | undefined,
  ): Promise<void> {
    aloneBusy = true;
    pending++;
    let may = false;
    try {
      may = await options.beginAlone(slot, window, entry);
    } finally {
      pending--;
      if (!may) aloneBusy = false;
    }
    if (!may) {
      wake();
      return;
    }
    const back = (): void => {
      aloneBusy = false;
      survived(window.starts);
    };
    if (stopped || !slot.active) {
      back();
      window.giveBack(entry);
      options.onSettled(slot);
    } else deliver(slot, window, entry, message, defect, back);
  }

  function deliver(
    slot: HeldSlot,
    window: HeldWindow,
    entry: Entry,
    message: Message,
    defect: string | undefined,
    onBack?: () => void,
  ): void {
    pending++;
    const delivery = new KafkaDelivery(message, defect, slot.lost, ordered);
    if (ordered) handedOut.set(entry, delivery);
    const back = (settlement: Settlement): void => {
      pending--;
      onBack?.();
      if (handedOut.get(entry) === delivery) handedOut.delete(entry);
      if (!delivery.isVoid && !slot.lost.aborted) settle(slot, window, entry, settlement);
      delivery.release();
      wake();
    };
    receive(delivery).then(back, () => back("release"));
  }

  function settle(slot: HeldSlot, window: HeldWindow, entry: Entry, settlement: Settlement): void {
    if (settlement === "accept") window.settle(entry);
    else {
      if (ordered) takeBackFollowers(window, entry);
      window.giveBack(entry);
    }
    options.onSettled(slot);
  }

  /** What came after it of its key must not be handled before it. */
  function takeBackFollowers(window: HeldWindow, released: Entry): void {
    const key = released.record?.key ?? null;
    if (key === null) return;
    for (const entry of window.pendingBehind(released.offset)) {
      const other = entry.record?.key ?? null;
      if (other === null || Buffer.compare(key, other) !== 0) continue;
      handedOut.get(entry)?.takeBack();
      handedOut.delete(entry);
      window.giveBack(entry);
    }
  }

  return {
    get pending() {
      return pending;
    },
    get maxInFlight() {
      return maxInFlight;
    },
    get paused() {
      return paused;
    },
    set paused(value) {
      paused = value;
      if (!value) wake();
    },
    wake,
    resize(value) {
      maxInFlight = value;
      wake();
    },
    stop() {
      stopped = true;
    },
  };
}

class KafkaDelivery implements Delivery {
  readonly message: Message;
  readonly deliveryCount = undefined;
  readonly defect: string | undefined;
  /** Its settlement counts no more, although its partition is still ours. */
  isVoid = false;
  readonly #slotLost: AbortSignal;
  readonly #own: AbortController | undefined;
  readonly #onSlotLost = (): void => this.#own?.abort(this.#slotLost.reason);

  constructor(message: Message, defect: string | undefined, slotLost: AbortSignal, singly: boolean) {
    this.message = message;
    this.defect = defect;
    this.#slotLost = slotLost;
    if (!singly) return;
    this.#own = new AbortController();
    slotLost.addEventListener("abort", this.#onSlotLost);
  }

  get lost(): AbortSignal {
    return this.#own?.signal ?? this.#slotLost;
  }

  takeBack(): void {
    this.isVoid = true;
    this.#own?.abort(new Error("A message of the same key that came before it was given back."));
  }

  /** It has come back: nobody listens any more. */
  release(): void {
    this.#slotLost.removeEventListener("abort", this.#onSlotLost);
  }
}
