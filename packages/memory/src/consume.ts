/** One running intake: takes leases from the broker, hands them to `receive`, carries out what it answers. */
import type { ConsumeOptions, Consumption, Delivery, Message, Receive, Settlement } from "@posthorn/core/transport";
import type { Session } from "./broker/session.ts";
import type { Lease, Member, Membership } from "./broker/source.ts";
import type { Attached, Connection } from "./connection.ts";
import { decode } from "./wire.ts";

/** Turns after which timers and sockets get theirs. */
const burst = 256;

export class Consumer implements Consumption, Attached, Member {
  readonly #connection: Connection;
  readonly #source: string;
  readonly #receive: Receive;
  /** What has a lease; a delivery whose lease was lost is not here, though `receive` may still be busy with it. */
  readonly #deliveries = new Map<Lease, MemoryDelivery>();
  #membership: Membership | undefined;
  #maxInFlight: number;
  #calls = 0;
  #turns = 0;
  #paused: boolean;
  #stopped = false;
  #scheduled = false;

  constructor(connection: Connection, source: string, receive: Receive, options: ConsumeOptions) {
    this.#connection = connection;
    this.#source = source;
    this.#receive = receive;
    this.#maxInFlight = options.maxInFlight;
    this.#paused = options.paused === true;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.onReady();
  }

  resize(maxInFlight: number): void {
    this.#maxInFlight = maxInFlight;
    this.onReady();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#membership?.drain();
    this.#leaveWhenDone();
  }

  get restored(): boolean {
    return this.#stopped || this.#membership !== undefined;
  }

  attach(session: Session): void {
    if (this.#stopped || this.#membership !== undefined) return;
    this.#membership = session.join(this.#source, this);
    this.onReady();
  }

  detach(): void {
    this.#membership = undefined;
    this.#loseAll();
  }

  heartbeat(): void {
    this.#membership?.heartbeat(this.#deliveries.keys());
  }

  catchUp(): void {
    if (this.#membership?.active === false) this.onEnded("expired");
    for (const lease of this.#deliveries.keys()) {
      if (!lease.held) this.#lose(lease);
    }
    this.onReady();
  }

  onReady(): void {
    if (this.#scheduled || !this.#hungry()) return;
    this.#scheduled = true;
    // One delivery a turn: consumers that compete take turns, and nothing recurses.
    if (++this.#turns % burst === 0) setImmediate(this.#next);
    else queueMicrotask(this.#next);
  }

  onLost(lease: Lease): void {
    if (this.#connection.hears) this.#lose(lease);
  }

  onEnded(reason: "deleted" | "expired"): void {
    if (!this.#connection.hears) return;
    this.#membership?.leave();
    this.#membership = undefined;
    this.#loseAll();
    if (this.#stopped) return;
    this.#connection.restore(
      reason === "deleted"
        ? `The source "${this.#source}" was deleted.`
        : `The broker gave up the consumer of "${this.#source}", which had not been heard of in time.`,
    );
  }

  #hungry(): boolean {
    return (
      !this.#paused &&
      !this.#stopped &&
      this.#calls < this.#maxInFlight &&
      this.#membership !== undefined &&
      this.#connection.hears
    );
  }

  readonly #next = (): void => {
    this.#scheduled = false;
    const lease = this.#hungry() ? this.#membership?.take() : undefined;
    if (lease === undefined) return;
    const { message, defect } = decode(lease.record);
    const delivery = new MemoryDelivery(message, lease.deliveryCount, defect);
    this.#deliveries.set(lease, delivery);
    this.#calls++;
    void this.#receive(delivery).then((settlement) => this.#received(lease, settlement));
    this.onReady();
  };

  #received(lease: Lease, settlement: Settlement): void {
    this.#calls--;
    this.#connection.whenAwake(() => this.#settle(lease, settlement));
  }

  #settle(lease: Lease, settlement: Settlement): void {
    if (this.#deliveries.delete(lease)) this.#connection.settle(lease, settlement);
    this.#leaveWhenDone();
    this.onReady();
  }

  #leaveWhenDone(): void {
    if (!this.#stopped || this.#deliveries.size > 0) return;
    this.#membership?.leave();
    this.#membership = undefined;
    this.#connection.attached.delete(this);
  }

  #lose(lease: Lease): void {
    const delivery = this.#deliveries.get(lease);
    this.#deliveries.delete(lease);
    delivery?.lose();
    this.#leaveWhenDone();
  }

  #loseAll(): void {
    for (const lease of this.#deliveries.keys()) this.#lose(lease);
    this.#leaveWhenDone();
  }
}

/** Its signal is made only for those who look at it. */
class MemoryDelivery implements Delivery {
  readonly message: Message;
  readonly deliveryCount: number | undefined;
  readonly defect: string | undefined;
  #controller: AbortController | undefined;
  #lost = false;

  constructor(message: Message, deliveryCount: number | undefined, defect: string | undefined) {
    this.message = message;
    this.deliveryCount = deliveryCount;
    this.defect = defect;
  }

  get lost(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#lost) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  lose(): void {
    this.#lost = true;
    this.#controller?.abort();
  }
}
