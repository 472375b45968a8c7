import type { DeadLetterAddress, InletAddress } from "./address.ts";
import { deadLetterAddress, inletAddress } from "./address.ts";
import type { DeadLetterChannel, Subscription, WaitOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { fromDeadLetter } from "./dead-letter.ts";
import { createDeadline } from "./deadline.ts";
import type { Intake } from "./declarations.ts";
import type { Handle } from "./handling.ts";
import { createLimiter } from "./limiter.ts";
import { checkConcurrency } from "./settings.ts";
import type { Limiter } from "./limiter.ts";
import type { Prefetch } from "./prefetch.ts";
import { createPrefetch } from "./prefetch.ts";
import type { Consumption, Delivery, Settlement, Transport, TransportAdmin } from "./transport.ts";

const defaultWaitMs = 30_000;
const defaultBrowseLimit = 100;

/** What a subscription needs of its bus. */
export interface SubscriptionEnvironment {
  readonly transport: Transport;
  readonly clock: Clock;
  /** @throws NOT_STARTED, CLOSED */
  assertOpen(): void;
  /** Told of what should not happen: handling failed outside of any handler. */
  onUnexpected(error: unknown): void;
}

/** A group's intake from one channel. The bus starts and ends it; the application holds it as a {@link Subscription}. */
export class RunningSubscription implements Subscription {
  readonly intake: Intake;
  readonly limiter: Limiter;
  readonly prefetch: Prefetch;
  readonly deadLetters: DeadLetterChannel;
  readonly #environment: SubscriptionEnvironment;
  readonly #inlet: InletAddress;
  readonly #pending = new Set<(settlement: Settlement) => void>();
  #idleWaiters: (() => void)[] = [];
  #consumption: Consumption | undefined;
  #stopping: Promise<void> | undefined;

  constructor(intake: Intake, concurrency: number, environment: SubscriptionEnvironment) {
    this.intake = intake;
    this.limiter = createLimiter(concurrency);
    this.prefetch = createPrefetch(concurrency, environment.clock, (size) => this.#consumption?.resize(size));
    this.#environment = environment;
    this.#inlet = inletAddress(intake.channel, intake.group);
    this.deadLetters = deadLetterChannel(deadLetterAddress(intake.channel, intake.group), environment);
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
          this.#environment.onUnexpected(error);
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

function deadLetterChannel(address: DeadLetterAddress, environment: SubscriptionEnvironment): DeadLetterChannel {
  const { admin } = environment.transport;
  const source = { channel: address.channel.name, group: address.group };
  return {
    depth: (options) => administer(environment, "depth", options, (signal) => admin.depth(address, { signal })),
    browse: async (options) => {
      const messages = await administer(environment, "browse", options, (signal) =>
        admin.browse(address, { signal, limit: options?.limit ?? defaultBrowseLimit }),
      );
      return messages.map((message) => fromDeadLetter(message, source));
    },
    purge: (options) => administer(environment, "purge", options, (signal) => admin.purge(address, { signal })),
  };
}

async function administer<Result>(
  environment: SubscriptionEnvironment,
  what: string,
  options: WaitOptions | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  environment.assertOpen();
  using deadline = createDeadline(environment.clock, options?.timeoutMs ?? defaultWaitMs, what, [options?.signal]);
  return await work(deadline.signal);
}
