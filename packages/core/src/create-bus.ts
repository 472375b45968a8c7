import { handledMessage } from "./ambient.ts";
import type { Bus, BusHealth, BusOptions, CloseOptions, Context, Handler, HandlerOptions, Received, SendOptions, Sent, StartOptions, SubscribeOptions, Subscription } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import type { AnyContract, QueueContract, TopicContract } from "./contract.ts";
import type { SendFrom } from "./context.ts";
import { assertChannel, HandlingContext } from "./context.ts";
import type { Deadline } from "./deadline.ts";
import { createDeadline, within } from "./deadline.ts";
import type { Declarations, Intake } from "./declarations.ts";
import { createDeclarations } from "./declarations.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { createDispatcher } from "./dispatcher.ts";
import { messageOf, PosthornError } from "./errors.ts";
import type { HandlingEnvironment } from "./handling.ts";
import { createHandling } from "./handling.ts";
import type { Message } from "./message.ts";
import type { Middleware } from "./middleware.ts";
import { compose } from "./middleware.ts";
import { checkName } from "./names.ts";
import type { Observe } from "./observe.ts";
import { guardObserver, observeOnConsole } from "./observe.ts";
import type { OutgoingOptions } from "./outgoing.ts";
import { makeMessage } from "./outgoing.ts";
import { checkRetry, defaultRetry } from "./retry.ts";
import { deadLetterReserveBytes } from "./size.ts";
import { checkConcurrency, RunningSubscription } from "./subscription.ts";
import type { TopologyChange } from "./topology.ts";
import { describeChange } from "./topology.ts";
import type { ProvisionMode, Transport, TransportEvent } from "./transport.ts";

const defaults = {
  concurrency: 10,
  maxMessageBytes: 262_144,
  publishTimeoutMs: 30_000,
  startTimeoutMs: 30_000,
  closeTimeoutMs: 30_000,
  maxPendingMessages: 100_000,
  maxPendingBytes: 67_108_864,
};

/** After the deadline of `close`: for releases to reach the broker. */
const closeGraceMs = 5_000;

/**
 * Makes a bus. Nothing happens on the network before {@link Bus.start}.
 *
 * @throws INVALID_NAME, INVALID_OPTION
 */
export function createBus(options: BusOptions): Bus {
  return new TransportBus(options);
}

class TransportBus implements Bus {
  readonly service: string;
  readonly #transport: Transport;
  readonly #group: string;
  readonly #provisionMode: "apply" | "verify";
  readonly #concurrency: number;
  readonly #publishTimeoutMs: number;
  readonly #clock: Clock;
  readonly #observe: Observe;
  readonly #outgoing: OutgoingOptions;
  readonly #dispatcher: Dispatcher;
  readonly #options: BusOptions;
  readonly #declarations: Declarations = createDeclarations();
  readonly #subscriptions = new Map<Intake, RunningSubscription>();
  readonly #middleware: Middleware[] = [];
  #aroundPublish: ReturnType<typeof compose<[message: Message, contract: AnyContract]>>;
  /** Begins to close: waits end, nothing new starts. */
  readonly #closing = new AbortController();
  /** The time to finish is over. */
  readonly #stopped = new AbortController();
  #status: BusHealth["status"] = "idle";
  /** Messages can be sent: connected and provisioned, and not closed. */
  #open = false;
  #closed: Promise<void> | undefined;

  constructor(options: BusOptions) {
    checkName("service", options.service);
    if (options.group !== undefined) checkName("group", options.group);
    const { capabilities } = options.transport;
    const maxMessageBytes = positive("maxMessageBytes", options.maxMessageBytes ?? defaults.maxMessageBytes);
    this.service = options.service;
    this.#options = options;
    this.#transport = options.transport;
    this.#group = options.group ?? options.service;
    this.#provisionMode = options.provision ?? "apply";
    this.#concurrency = checkConcurrency(options.concurrency ?? defaults.concurrency);
    this.#publishTimeoutMs = positive("publishTimeoutMs", options.publishTimeoutMs ?? defaults.publishTimeoutMs);
    this.#clock = options.clock ?? systemClock;
    this.#observe = guardObserver(options.observe ?? observeOnConsole);
    checkRetry(options.retry ?? defaultRetry);
    this.#outgoing = {
      source: options.service,
      now: () => this.#clock.now(),
      maxMessageBytes: Math.min(maxMessageBytes, capabilities.maxMessageBytes - deadLetterReserveBytes),
      delayedDelivery: capabilities.delayedDelivery,
    };
    this.#dispatcher = createDispatcher({
      transport: this.#transport,
      clock: this.#clock,
      random: options.random ?? Math.random,
      observe: this.#observe,
      maxPendingMessages: positive("maxPendingMessages", options.maxPendingMessages ?? defaults.maxPendingMessages),
      maxPendingBytes: positive("maxPendingBytes", options.maxPendingBytes ?? defaults.maxPendingBytes),
    });
  }

  declare(...contracts: readonly AnyContract[]): void {
    this.#assertIdle("declare");
    for (const contract of contracts) this.#declarations.declare(contract);
  }

  handle<Data>(contract: QueueContract<never, Data>, handler: Handler<Data>, options: HandlerOptions = {}): Subscription {
    this.#assertIdle("handle");
    assertChannel(contract, "queue", "handle", "subscribe");
    return this.#register(contract, handler, options, contract.channel.name);
  }

  subscribe<Data>(contract: TopicContract<never, Data>, handler: Handler<Data>, options: SubscribeOptions = {}): Subscription {
    this.#assertIdle("subscribe");
    assertChannel(contract, "topic", "subscribe", "handle");
    const group = options.group ?? this.#group;
    checkName("group", group);
    return this.#register(contract, handler, options, group);
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
      this.#declarations.check(this.#transport.capabilities, this.#transport.system);
      await this.#connect(deadline);
      const problems = await this.#provision(this.#provisionMode, deadline);
      if (problems.length > 0) throw topologyMismatch(problems, this.#provisionMode);
      this.#open = true;
      this.#aroundPublish = compose(this.#middleware.flatMap((middleware) => middleware.publish?.bind(middleware) ?? []));
      const environment = this.#handlingEnvironment();
      for (const [intake, subscription] of this.#subscriptions) {
        await subscription.start(createHandling(intake, subscription.limiter, environment), deadline.signal);
      }
      // A close() during start has the last word.
      deadline.signal.throwIfAborted();
      this.#status = "running";
    } catch (error) {
      await this.close({ timeoutMs: 0 });
      throw error;
    }
  }

  async plan(options: StartOptions = {}): Promise<readonly TopologyChange[]> {
    if (this.#status === "running") {
      using deadline = this.#deadline("plan", options);
      return await this.#provision("plan", deadline);
    }
    this.#assertIdle("plan");
    this.#status = "starting";
    using deadline = this.#deadline("plan", options);
    try {
      this.#declarations.check(this.#transport.capabilities, this.#transport.system);
      await this.#connect(deadline);
      return await this.#provision("plan", deadline);
    } finally {
      await this.close({ timeoutMs: 0 });
    }
  }

  async send<Payload>(contract: QueueContract<Payload>, data: NoInfer<Payload>, options: SendOptions = {}): Promise<Sent> {
    assertChannel(contract, "queue", "send", "publish");
    return this.#dispatch(contract, data, options, handledMessage());
  }

  async publish<Payload>(contract: TopicContract<Payload>, data: NoInfer<Payload>, options: SendOptions = {}): Promise<Sent> {
    assertChannel(contract, "topic", "publish", "send");
    return this.#dispatch(contract, data, options, handledMessage());
  }

  health(): BusHealth {
    let handling = 0;
    for (const subscription of this.#subscriptions.values()) handling += subscription.limiter.held;
    return { status: this.#status, transport: this.#transport.health(), pendingMessages: this.#dispatcher.pending, handling };
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options.timeoutMs ?? defaults.closeTimeoutMs);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeoutMs: number): Promise<void> {
    this.#status = "closing";
    using deadline = createDeadline(this.#clock, timeoutMs, "close");
    const subscriptions = [...this.#subscriptions.values()];
    this.#closing.abort(new PosthornError("CLOSED", "The bus is closing."));
    await within(deadline.signal, Promise.all(subscriptions.map((subscription) => subscription.stop())));
    const finished = await within(deadline.signal, Promise.all(subscriptions.map((subscription) => subscription.idle())));
    if (!finished) {
      this.#stopped.abort(new PosthornError("CLOSED", "The bus is closed, and its time to finish is over."));
      for (const subscription of subscriptions) subscription.releaseAll();
    }
    await within(deadline.signal, this.#dispatcher.drained());
    this.#open = false;
    this.#dispatcher.close();
    this.#stopped.abort(new PosthornError("CLOSED", "The bus is closed."));
    using grace = createDeadline(this.#clock, closeGraceMs, "close");
    try {
      await this.#transport.close({ signal: grace.signal });
    } catch (error) {
      this.#observe({ name: "transport.failed", level: "error", detail: `The transport did not close cleanly: ${messageOf(error)}`, error });
    }
    this.#status = "closed";
  }

  #register(contract: AnyContract, handler: Handler<never>, options: HandlerOptions, group: string): Subscription {
    const concurrency = options.concurrency === undefined ? undefined : checkConcurrency(options.concurrency);
    const retry = checkRetry(options.retry ?? this.#options.retry ?? defaultRetry);
    const intake = this.#declarations.register(group, { contract, handler, retry }, concurrency);
    let subscription = this.#subscriptions.get(intake);
    if (subscription === undefined) {
      subscription = new RunningSubscription(intake, this.#concurrency, { transport: this.#transport, clock: this.#clock, assertOpen: () => this.#assertOpen() });
      this.#subscriptions.set(intake, subscription);
    }
    if (concurrency !== undefined) subscription.concurrency = concurrency;
    return subscription;
  }

  #deadline(what: string, options: StartOptions): Deadline {
    return createDeadline(this.#clock, options.timeoutMs ?? defaults.startTimeoutMs, what, [options.signal, this.#closing.signal]);
  }

  async #connect(deadline: Deadline): Promise<void> {
    await this.#transport.connect({
      signal: deadline.signal,
      report: (event) => this.#observe({ ...event, level: levelOf(event) }),
    });
  }

  #provision(mode: ProvisionMode, deadline: Deadline): Promise<readonly TopologyChange[]> {
    return this.#transport.provision(this.#declarations.topology(), mode, { signal: deadline.signal });
  }

  async #dispatch(contract: AnyContract, data: unknown, options: SendOptions, cause: Message | undefined): Promise<Sent> {
    this.#assertOpen();
    const address = this.#declarations.addressOf(contract);
    if (address === undefined) throw undeclared(contract);
    const timeoutMs = options.timeoutMs === undefined ? this.#publishTimeoutMs : positive("timeoutMs", options.timeoutMs);
    const made = makeMessage(contract, data, options, cause, this.#outgoing);
    const message = made instanceof Promise ? await made : made;
    const dispatch = (): Promise<void> => this.#dispatcher.dispatch(address, message, timeoutMs, options.signal);
    await (this.#aroundPublish === undefined ? dispatch() : this.#aroundPublish(message, contract, dispatch));
    this.#observe({ name: "message.sent", level: "debug", id: message.id, type: message.type, channel: contract.channel });
    return { id: message.id, correlationId: message.correlationId ?? message.id };
  }

  #handlingEnvironment(): HandlingEnvironment {
    return {
      clock: this.#clock,
      random: this.#options.random ?? Math.random,
      observe: this.#observe,
      dispatcher: this.#dispatcher,
      publishTimeoutMs: this.#publishTimeoutMs,
      service: this.service,
      serviceVersion: this.#options.serviceVersion,
      around: compose<[message: Received<unknown>, context: Context]>(this.#middleware.flatMap((middleware) => middleware.handle?.bind(middleware) ?? [])),
      contextFor: (delivery, message, intake, attempt) => new HandlingContext(delivery, message, intake, attempt, this.#stopped.signal, this.#sendFrom),
      closing: this.#closing.signal,
      stopped: this.#stopped.signal,
    };
  }

  readonly #sendFrom: SendFrom = (contract, data, options, cause) => this.#dispatch(contract, data, options, cause);

  #assertIdle(what: string): void {
    if (this.#status === "idle") return;
    if (this.#status === "closing" || this.#status === "closed") throw new PosthornError("CLOSED", `${what}() was called on a closed bus: make a new one.`);
    throw new PosthornError("INVALID_DECLARATION", `${what}() was called after start(): declare and register everything before, so that it is checked and provisioned.`);
  }

  #assertOpen(): void {
    if (this.#open) return;
    if (this.#status === "closing" || this.#status === "closed") throw new PosthornError("CLOSED", "The bus is closed.");
    throw new PosthornError("NOT_STARTED", "The bus has not started: await bus.start() first.");
  }
}

function undeclared(contract: AnyContract): PosthornError {
  return new PosthornError("UNDECLARED_CONTRACT", `The ${contract.kind} ${JSON.stringify(contract.type)} version ${contract.version} was not declared on this bus: call bus.declare(…) with it before start().`, {
    details: { type: contract.type, version: contract.version, channel: contract.channel.name },
  });
}

function topologyMismatch(problems: readonly TopologyChange[], mode: "apply" | "verify"): PosthornError {
  const advice =
    mode === "verify"
      ? "Create or change it as declared, or start with provision: \"apply\""
      : "Posthorn never changes or deletes what exists: remove it on the broker once it is empty, or declare it as it is";
  return new PosthornError("TOPOLOGY_MISMATCH", `The broker does not have what was declared: ${problems.map(describeChange).join("; ")}. ${advice}.`, { details: { problems } });
}

function positive(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new PosthornError("INVALID_OPTION", `${option} must be a whole number from 1, not ${String(value)}.`, { details: { option } });
}

function levelOf(event: TransportEvent): "info" | "warn" | "error" {
  switch (event.name) {
    case "transport.connected":
    case "transport.unblocked":
    case "transport.consumer-restored":
      return "info";
    case "transport.failed":
      return "error";
    default:
      return "warn";
  }
}
