import type { Context, SendOptions, Sent } from "./handler.ts";
import type { AnyContract, QueueContract, TopicContract } from "./contract.ts";
import type { Intake } from "./declarations.ts";
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Sender } from "./sender.ts";
import type { Delivery } from "./transport.ts";

/** What the contexts of one subscription share. */
export interface ContextEnvironment {
  readonly intake: Intake;
  readonly send: Sender;
  /** Fires when the time to finish is over. */
  readonly stopped: AbortSignal;
}

/** Made for each attempt; what most handlers never look at is made when they do. */
export class HandlingContext implements Context {
  readonly attempt: number;
  readonly #delivery: Delivery;
  readonly #message: Message;
  readonly #environment: ContextEnvironment;
  #controller: AbortController | undefined;
  #onAbort: ((event: Event) => void) | undefined;
  #ended = false;
  /** Why its time is up. */
  #expired: PosthornError | undefined;

  constructor(delivery: Delivery, message: Message, attempt: number, environment: ContextEnvironment) {
    this.attempt = attempt;
    this.#delivery = delivery;
    this.#message = message;
    this.#environment = environment;
  }

  /** Not AbortSignal.any: with a listener on it that would be kept as long as its sources, and they outlive the message. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      this.#onAbort = (event) => controller.abort((event.target as AbortSignal).reason);
      for (const source of this.#ended ? [] : this.#sources()) {
        if (source.aborted) controller.abort(source.reason);
        source.addEventListener("abort", this.#onAbort);
      }
      if (this.#expired !== undefined) controller.abort(this.#expired);
    }
    return this.#controller.signal;
  }

  get expired(): PosthornError | undefined {
    return this.#expired;
  }

  /** The attempt has taken too long: its signal fires. */
  expire(reason: PosthornError): void {
    this.#expired = reason;
    this.#controller?.abort(reason);
  }

  /** The attempt is over: nothing fires any more. */
  end(): void {
    this.#ended = true;
    if (this.#onAbort === undefined) return;
    for (const source of this.#sources()) source.removeEventListener("abort", this.#onAbort);
  }

  #sources(): readonly AbortSignal[] {
    return [this.#delivery.lost, this.#environment.stopped];
  }

  get correlationId(): string {
    return this.#message.correlationId ?? this.#message.id;
  }

  get channel(): Intake["channel"] {
    return this.#environment.intake.channel;
  }

  get group(): string {
    return this.#environment.intake.group;
  }

  async send<Payload>(
    contract: QueueContract<Payload>,
    data: NoInfer<Payload>,
    options: SendOptions = {},
  ): Promise<Sent> {
    assertChannel(contract, "queue", "send", "publish");
    return this.#environment.send(contract, data, options, this.#message);
  }

  async publish<Payload>(
    contract: TopicContract<Payload>,
    data: NoInfer<Payload>,
    options: SendOptions = {},
  ): Promise<Sent> {
    assertChannel(contract, "topic", "publish", "send");
    return this.#environment.send(contract, data, options, this.#message);
  }
}

/** @throws INVALID_DECLARATION for a contract of the other kind of channel, which types alone cannot keep out */
export function assertChannel(contract: AnyContract, kind: "queue" | "topic", used: string, right: string): void {
  if (contract.channel.kind === kind) return;
  const what = `${JSON.stringify(contract.type)} is on the ${contract.channel.kind} ${JSON.stringify(contract.channel.name)}`;
  throw new PosthornError("INVALID_DECLARATION", `${used}() is for a ${kind}, and ${what}: use ${right}().`);
}
