import type { Context, SendOptions, Sent } from "./bus.ts";
import type { AnyContract, QueueContract, TopicContract } from "./contract.ts";
import type { Intake } from "./declarations.ts";
import { PosthornError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Delivery } from "./transport.ts";

/** Sends as part of the flow of `cause`. */
export type SendFrom = (contract: AnyContract, data: unknown, options: SendOptions, cause: Message) => Promise<Sent>;

/** Made for each attempt; what most handlers never look at is made when they do. */
export class HandlingContext implements Context {
  readonly attempt: number;
  readonly #delivery: Delivery;
  readonly #message: Message;
  readonly #intake: Intake;
  readonly #stopped: AbortSignal;
  readonly #sendFrom: SendFrom;
  #signal: AbortSignal | undefined;

  constructor(delivery: Delivery, message: Message, intake: Intake, attempt: number, stopped: AbortSignal, sendFrom: SendFrom) {
    this.attempt = attempt;
    this.#delivery = delivery;
    this.#message = message;
    this.#intake = intake;
    this.#stopped = stopped;
    this.#sendFrom = sendFrom;
  }

  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any([this.#delivery.lost, this.#stopped]);
    return this.#signal;
  }

  get correlationId(): string {
    return this.#message.correlationId ?? this.#message.id;
  }

  get channel(): Intake["channel"] {
    return this.#intake.channel;
  }

  get group(): string {
    return this.#intake.group;
  }

  async send<Payload>(contract: QueueContract<Payload>, data: NoInfer<Payload>, options: SendOptions = {}): Promise<Sent> {
    assertChannel(contract, "queue", "send", "publish");
    return this.#sendFrom(contract, data, options, this.#message);
  }

  async publish<Payload>(contract: TopicContract<Payload>, data: NoInfer<Payload>, options: SendOptions = {}): Promise<Sent> {
    assertChannel(contract, "topic", "publish", "send");
    return this.#sendFrom(contract, data, options, this.#message);
  }
}

/** @throws INVALID_DECLARATION for a contract of the other kind of channel, which types alone cannot keep out */
export function assertChannel(contract: AnyContract, kind: "queue" | "topic", used: string, right: string): void {
  if (contract.channel.kind === kind) return;
  throw new PosthornError("INVALID_DECLARATION", `${used}() is for a ${kind}, and ${JSON.stringify(contract.type)} is on the ${contract.channel.kind} ${JSON.stringify(contract.channel.name)}: use ${right}().`);
}
