import type { InletAddress } from "./address.ts";
import { deadLetterAddress, inletAddress } from "./address.ts";
import type { Subscription, WaitOptions } from "./bus.ts";
import type { DeadLetterChannel } from "./dead-letter-channel.ts";
import type { DeskEnvironment } from "./dead-letter-desk.ts";
import { administer, createDeadLetterDesk } from "./dead-letter-desk.ts";
import type { Intake } from "./declarations.ts";
import type { Handle } from "./handling.ts";
import { createLimiter } from "./limiter.ts";
import { checkConcurrency } from "./settings.ts";
import type { Limiter } from "./limiter.ts";
import type { Prefetch } from "./prefetch.ts";
import { createOrderedPrefetch, createPrefetch } from "./prefetch.ts";
import type { Consumption, Delivery, Settlement, TransportAdmin } from "./transport.ts";

/** A group's intake from one channel. The bus starts and ends it; the application holds it as a {@link Subscription}. */
export class RunningSubscription implements Subscription {
  readonly intake: Intake;
  readonly limiter: Limiter;
  readonly prefetch: Prefetch;
  readonly deadLetters: DeadLetterChannel;
  readonly #environment: DeskEnvironment;
  /** Told of what should not happen: handling failed outside of any handler. */
  readonly #onUnexpected: (error: unknown) => void;
  readonly #inlet: InletAddress;
  /** Fires when it is stopped. */
  readonly #ending = new AbortController();
  readonly #pending = new Set<(settlement: Settlement) => void>();
  #idleWaiters: (() => void)[] = [];
  #consumption: Consumption | undefined;
  #stopping: Promise<void> | undefined;

  constructor(
    intake: Intake,
    concurrency: number,
    environment: DeskEnvironment,
    onUnexpected: (error: unknown) => void,
  ) {
    this.intake = intake;
    this.limiter = createLimiter(concurrency);
    this.prefetch = intake.channel.ordered
      ? createOrderedPrefetch(concurrency)
      : createPrefetch(concurrency, environment.clock, (size) => this.#consumption?.resize(size));
    this.#environment = environment;
    this.#onUnexpected = onUnexpected;
    this.#inlet = inletAddress(intake.channel, intake.group);
    this.deadLetters = createDeadLetterDesk(deadLetterAddress(intake.channel, intake.group), environment);
  }

  /** Fires when it is stopped. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  get channel(): Intake["channel"] {
    return this.intake.channel;
  }

  get group(): string {
    return this.intake.group;
  }

  get concurrency(): number {
    return this.limiter.limit;
  }

  set concurrency(value: number) {
    checkConcurrency(value);
    this.limiter.limit = value;
    this.prefetch.concurrency = value;
  }

  get paused(): boolean {
    return this.limiter.paused;
  }

  pause(): void {
    this.limiter.paused = true;
    this.#consumption?.pause();
  }

  resume(): void {
    this.limiter.paused = false;
    this.#consumption?.resume();
  }

  /** Resolves when it receives. What was asked of the subscription meanwhile is made good. */
  async start(handle: Handle, signal: AbortSignal): Promise<void> {
    const receive = (delivery: Delivery): Promise<Settlement> =>
      new Promise((resolve) => {
        const settle = (settlement: Settlement): void => {
          if (!this.#pending.delete(settle)) return;
          resolve(settlement);
          if (this.#pending.size === 0) for (const idle of this.#idleWaiters.splice(0)) idle();
        };
        this.#pending.add(settle);
        handle(delivery).then(settle, (error: unknown) => {
          this.#onUnexpected(error);
          settle("release");
        });
      });
    const { paused } = this.limiter;
    const { size } = this.prefetch;
    const consumption = await this.#environment.transport.consume(this.#inlet, receive, {
      signal,
      maxInFlight: size,
      paused,
    });
    this.#consumption = consumption;
    if (this.limiter.paused && !paused) consumption.pause();
    if (!this.limiter.paused && paused) consumption.resume();
    if (this.prefetch.size !== size) consumption.resize(this.prefetch.size);
    if (this.#stopping !== undefined) await consumption.stop();
  }

  stop(): Promise<void> {
    this.#ending.abort();
    this.limiter.close();
    this.prefetch.stop();
    this.#stopping ??= this.#consumption?.stop() ?? Promise.resolve();
    return this.#stopping;
  }

  /** Resolves when no delivery is unsettled. */
  idle(): Promise<void> {
    return this.#pending.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Gives back at once what is not settled, although its handlers may still run. */
  releaseAll(): void {
    for (const settle of this.#pending) settle("release");
  }

  depth(options?: WaitOptions): ReturnType<TransportAdmin["depth"]> {
    return administer(this.#environment, "depth", options, (signal) =>
      this.#environment.transport.admin.depth(this.#inlet, { signal }),
    );
  }
}
