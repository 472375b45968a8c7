import { handledMessage } from "./ambient.ts";
import type {
  Bus,
  BusHealth,
  BusOptions,
  CloseOptions,
  HandlerOptions,
  StartOptions,
  SubscribeOptions,
  Subscription,
} from "./bus.ts";
import type { Handler, SendOptions, Sent } from "./handler.ts";
import type { ChannelInfo } from "./address.ts";
import { deadLetterAddress } from "./address.ts";
import { assertChannel } from "./context.ts";
import type { AnyContract, QueueContract, TopicContract } from "./contract.ts";
import type { Deadline } from "./deadline.ts";
import { createDeadline, within } from "./deadline.ts";
import type { Intake, SharedOptions } from "./declarations.ts";
import { createDeclarations } from "./declarations.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { createDispatcher } from "./dispatcher.ts";
import type { DeadLetterChannel } from "./dead-letter-channel.ts";
import type { DeskEnvironment } from "./dead-letter-desk.ts";
import { createDeadLetterDesk } from "./dead-letter-desk.ts";
import { messageOf, PosthornError } from "./errors.ts";
import { createHandling } from "./handling.ts";
import type { Middleware } from "./middleware.ts";
import { composeHandling, composePublish } from "./middleware.ts";
import { checkName } from "./names.ts";
import { transportLevels } from "./observe.ts";
import { checkRetry } from "./retry.ts";
import type { Sender } from "./sender.ts";
import { createSender } from "./sender.ts";
import type { Settings } from "./settings.ts";
import { checkConcurrency, checkPositive, settingsOf } from "./settings.ts";
import { RunningSubscription } from "./subscription.ts";
import type { TopologyChange } from "./topology.ts";
import { describeChange } from "./topology.ts";
import type { ProvisionMode, Transport } from "./transport.ts";

const defaultStartMs = 30_000;
const defaultCloseMs = 30_000;
/** After the deadline of `close`: for releases to reach the broker. */
const closeGraceMs = 5_000;

/**
 * Makes a bus. Nothing happens on the network before {@link Bus.start}.
 *
 * @throws INVALID_NAME, INVALID_OPTION
 */
export function createBus(options: BusOptions): Bus {
  const settings = settingsOf(options);
  if (taken.has(settings.transport)) {
    throw new PosthornError("INVALID_OPTION", "The transport belongs to another bus: open one for each.", {
      details: { option: "transport" },
    });
  }
  taken.add(settings.transport);
  return new TransportBus(settings);
}

/** A bus closes its transport, so no two may share one. */
const taken = new WeakSet<Transport>();

class TransportBus implements Bus {
  readonly #settings: Settings;
  readonly #dispatcher: Dispatcher;
  readonly #declarations = createDeclarations();
  readonly #subscriptions = new Map<Intake, RunningSubscription>();
  readonly #middleware: Middleware[] = [];
  readonly #desk: DeskEnvironment;
  /** Fires when the bus begins to close: waits end, nothing new starts, what runs may finish. */
  readonly #closing = new AbortController();
  /** Fires when the time to finish is over. */
  readonly #stopped = new AbortController();
  #status: BusHealth["status"] = "idle";
  /** Fires when the shortest time that a close() was given is over. */
  readonly #hurry = new AbortController();
  /** Set while messages can be sent: once connected and provisioned, and until closed. */
  #sender: Sender | undefined;
  #closed: Promise<void> | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#dispatcher = createDispatcher(settings);
    const { transport, clock, observe, publishTimeoutMs } = settings;
    this.#desk = {
      transport,
      clock,
      observe,
      publishTimeoutMs,
      dispatcher: this.#dispatcher,
      closing: this.#closing.signal,
      assertOpen: () => void this.#openSender(),
    };
  }

  get service(): string {
    return this.#settings.service;
  }

  declare(...contracts: readonly AnyContract[]): void {
    this.#assertIdle("declare");
    for (const contract of contracts) this.#declarations.declare(contract);
  }

  handle<Data>(contract: QueueContract<never, Data>, handler: Handler<Data>, options?: HandlerOptions): Subscription {
    assertChannel(contract, "queue", "handle", "subscribe");
    return this.#register("handle", contract, handler, options ?? {}, contract.channel.name);
  }

  subscribe<Data>(
    contract: TopicContract<never, Data>,
    handler: Handler<Data>,
    options?: SubscribeOptions,
  ): Subscription {
    assertChannel(contract, "topic", "subscribe", "handle");
    const group = options?.group ?? this.#settings.group;
    checkName("group", group);
    return this.#register("subscribe", contract, handler, options ?? {}, group);
  }

  use(middleware: Middleware): void {
    this.#assertIdle("use");
    this.#middleware.push(middleware);
  }

  async start(options: StartOptions = {}): Promise<void> {
    this.#assertIdle("start");
    this.#status = "starting";
    using deadline = this.#deadline("start", options);
    try {
      await this.#connect(deadline);
      const mode = this.#settings.provision;
      if (mode !== "assume") {
        const problems = await this.#provision(mode, deadline);
        if (problems.length > 0) throw topologyMismatch(problems, mode);
      }
      deadline.signal.throwIfAborted();
      await this.#consume(deadline);
      // A close() during start has the last word.
      deadline.signal.throwIfAborted();
      this.#status = "running";
    } catch (error) {
      await this.close({ timeoutMs: 0 });
      throw error;
    }
  }

  async plan(options: StartOptions = {}): Promise<readonly TopologyChange[]> {
    using deadline = this.#deadline("plan", options);
    if (this.#status === "running") return await this.#provision("plan", deadline);
    this.#assertIdle("plan");
    this.#status = "starting";
    try {
      await this.#connect(deadline);
      return await this.#provision("plan", deadline);
    } finally {
      await this.close({ timeoutMs: 0 });
    }
  }

  async send<Payload>(
    contract: QueueContract<Payload>,
    data: NoInfer<Payload>,
    options: SendOptions = {},
  ): Promise<Sent> {
    assertChannel(contract, "queue", "send", "publish");
    return this.#openSender()(contract, data, options, handledMessage());
  }

  async publish<Payload>(
    contract: TopicContract<Payload>,
    data: NoInfer<Payload>,
    options: SendOptions = {},
  ): Promise<Sent> {
    assertChannel(contract, "topic", "publish", "send");
    return this.#openSender()(contract, data, options, handledMessage());
  }

  deadLetters(channel: ChannelInfo, group?: string): DeadLetterChannel {
    return createDeadLetterDesk(deadLetterAddress(plainChannel(channel), this.#groupOf(channel, group)), this.#desk);
  }

  health(): BusHealth {
    let handling = 0;
    for (const subscription of this.#subscriptions.values()) handling += subscription.limiter.held;
    const transport = this.#settings.transport.health();
    return { status: this.#status, transport, pendingMessages: this.#dispatcher.pending, handling };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? defaultCloseMs;
    if (!(timeoutMs >= 0)) {
      throw new PosthornError("INVALID_OPTION", `timeoutMs must be a number from 0, not ${String(timeoutMs)}.`);
    }
    using deadline = createDeadline(this.#settings.clock, timeoutMs, "close");
    // Whoever asks for less time than those before gets it.
    deadline.signal.addEventListener("abort", () => this.#hurry.abort(), { once: true });
    this.#closed ??= this.#close();
    await this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { clock, transport, observe } = this.#settings;
    const { signal } = this.#hurry;
    this.#status = "closing";
    const subscriptions = [...this.#subscriptions.values()];
    const all = (work: (subscription: RunningSubscription) => Promise<void>): Promise<boolean> =>
      within(signal, Promise.all(subscriptions.map(work))).catch((error: unknown) => {
        this.#onUnexpected("A subscription did not stop cleanly", error);
        return false;
      });

    this.#closing.abort(new PosthornError("CLOSED", "The bus is closing."));
    const finished =
      (await all((subscription) => subscription.stop())) && (await all((subscription) => subscription.idle()));
    this.#stopped.abort(new PosthornError("CLOSED", "The bus is closed, and its time to finish is over."));
    if (!finished) for (const subscription of subscriptions) subscription.releaseAll();
    await within(signal, this.#dispatcher.drained());
    this.#sender = undefined;
    await this.#dispatcher.close();
    using grace = createDeadline(clock, closeGraceMs, "close");
    try {
      const closed = await within(grace.signal, transport.close({ signal: grace.signal }));
      if (!closed)
        observe({
          name: "bus.failed",
          level: "error",
          detail: "The transport did not close in time.",
          error: undefined,
        });
    } catch (error) {
      this.#onUnexpected("The transport did not close cleanly", error);
    }
    this.#status = "closed";
  }

  #register(
    called: string,
    contract: AnyContract,
    handler: Handler<never>,
    options: HandlerOptions,
    group: string,
  ): Subscription {
    this.#assertIdle(called);
    if (typeof handler !== "function") {
      throw new PosthornError("INVALID_DECLARATION", `${called}() needs a function as its handler.`);
    }
    const shared: SharedOptions = {
      ...(options.concurrency !== undefined && { concurrency: checkConcurrency(options.concurrency) }),
      ...(options.maxHandlingMs !== undefined && {
        maxHandlingMs: checkPositive("maxHandlingMs", options.maxHandlingMs),
      }),
    };
    const retry = checkRetry(options.retry ?? this.#settings.retry);
    const intake = this.#declarations.register(group, { contract, handler, retry }, shared);
    let subscription = this.#subscriptions.get(intake);
    if (subscription === undefined) {
      subscription = new RunningSubscription(intake, this.#settings.concurrency, this.#desk, (error) =>
        this.#onUnexpected("A message could not be handled, and was released", error),
      );
      this.#subscriptions.set(intake, subscription);
    }
    if (shared.concurrency !== undefined) subscription.concurrency = shared.concurrency;
    return subscription;
  }

  #groupOf(channel: ChannelInfo, group: string | undefined): string {
    if (channel.kind === "topic") {
      const name = group ?? this.#settings.group;
      checkName("group", name);
      return name;
    }
    if (group === undefined || group === channel.name) return channel.name;
    throw new PosthornError(
      "INVALID_DECLARATION",
      `The queue ${JSON.stringify(channel.name)} has one group, named after it: leave the group ${JSON.stringify(group)} out.`,
    );
  }

  #deadline(what: string, options: StartOptions): Deadline {
    const timeoutMs = options.timeoutMs ?? defaultStartMs;
    return createDeadline(this.#settings.clock, timeoutMs, what, [options.signal, this.#closing.signal]);
  }

  async #connect(deadline: Deadline): Promise<void> {
    const { transport, observe } = this.#settings;
    this.#declarations.check(transport.capabilities, transport.system);
    try {
      await transport.connect({
        signal: deadline.signal,
        report: (event) => observe({ ...event, level: transportLevels[event.name] }),
      });
    } catch (error) {
      // Given up by its caller or by close(), not failed.
      if (deadline.signal.aborted && !deadline.expired) throw deadline.signal.reason;
      throw error;
    }
  }

  #provision(mode: ProvisionMode, deadline: Deadline): Promise<readonly TopologyChange[]> {
    return this.#settings.transport.provision(this.#declarations.topology(), mode, { signal: deadline.signal });
  }

  async #consume(deadline: Deadline): Promise<void> {
    const settings = this.#settings;
    const send = createSender(settings, this.#declarations, this.#dispatcher, composePublish(this.#middleware));
    this.#sender = send;
    const around = composeHandling(this.#middleware);
    for (const [intake, subscription] of this.#subscriptions) {
      const handle = createHandling({
        settings,
        intake,
        limiter: subscription.limiter,
        prefetch: subscription.prefetch,
        dispatcher: this.#dispatcher,
        send,
        around,
        maxHandlingMs: intake.shared.maxHandlingMs ?? settings.maxHandlingMs,
        closing: subscription.ending,
        stopped: this.#stopped.signal,
      });
      await subscription.start(handle, deadline.signal);
    }
  }

  #onUnexpected(what: string, error: unknown): void {
    const detail = `${what}: ${messageOf(error)}`;
    this.#settings.observe({ name: "bus.failed", level: "error", detail, error });
  }

  #assertIdle(called: string): void {
    if (this.#status === "idle") return;
    if (this.#status === "closing" || this.#status === "closed") {
      throw new PosthornError("CLOSED", `${called}() was called on a closed bus: make a new one.`);
    }
    throw new PosthornError(
      "INVALID_DECLARATION",
      `${called}() was called after start(): declare and register everything before, so that it is checked and provisioned.`,
    );
  }

  #openSender(): Sender {
    if (this.#sender !== undefined) return this.#sender;
    if (this.#status === "closing" || this.#status === "closed")
      throw new PosthornError("CLOSED", "The bus is closed.");
    throw new PosthornError("NOT_STARTED", "The bus has not started: await bus.start() first.");
  }
}

/** Of a channel with its contracts, what transports know. */
function plainChannel({ kind, name, ordered }: ChannelInfo): ChannelInfo {
  return { kind, name, ordered };
}

function topologyMismatch(problems: readonly TopologyChange[], mode: "apply" | "verify"): PosthornError {
  const advice =
    mode === "verify"
      ? 'Create or change it as declared, or start with provision: "apply"'
      : "Posthorn never changes or deletes what exists: remove it on the broker once it is empty, or declare it as it is";
  return new PosthornError(
    "TOPOLOGY_MISMATCH",
    `The broker does not have what was declared: ${problems.map(describeChange).join("; ")}. ${advice}.`,
    { details: { problems } },
  );
}
