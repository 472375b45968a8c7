import type { ChannelInfo } from "./address.ts";
import type { Codec } from "./codec.ts";
import { json } from "./codec.ts";
import { PosthornError } from "./errors.ts";
import { checkType } from "./names.ts";
import type { InputOf, OutputOf, StandardSchema } from "./standard-schema.ts";

export type MessageKind = "command" | "event" | "document";

declare const payload: unique symbol;
declare const received: unique symbol;

/**
 * A message type with its channel, schema, version and key. Made by a {@link Queue} or {@link Topic}.
 *
 * Typed by what is sent and what is received, not by the schema: declarations that hold contracts name no schema library.
 */
export interface Contract<
  Kind extends MessageKind = MessageKind,
  ChannelKind extends ChannelInfo["kind"] = ChannelInfo["kind"],
  Payload = unknown,
  Received = unknown,
> {
  /** Unique among contracts: channel, type and version. */
  readonly id: string;
  readonly kind: Kind;
  readonly channel: ChannelInfo & { readonly kind: ChannelKind };
  readonly type: string;
  readonly version: number;
  readonly codec: Codec;
  readonly untyped: boolean;
  /** `undefined` where the codec's own output is the payload. */
  readonly schema: StandardSchema | undefined;
  readonly keyOf: ((payload: never) => string) | undefined;
  /** Types only; never set. */
  readonly [payload]?: (value: Payload) => void;
  /** Types only; never set. */
  readonly [received]?: () => Received;
}

/** Any contract, for code that does not care about payloads. */
export type AnyContract = Contract<MessageKind, ChannelInfo["kind"], never, unknown>;

/** A contract that can be sent: on a queue. */
export type QueueContract<Payload, Received = unknown> = Contract<"command" | "document", "queue", Payload, Received>;

/** A contract that can be published: on a topic. */
export type TopicContract<Payload, Received = unknown> = Contract<"event" | "document", "topic", Payload, Received>;

interface CommonOptions {
  /** Default 1. A message of a version that nobody handles goes to the dead-letter channel. */
  readonly version?: number;
  /**
   * Messages on this channel that name no type (sent by programs that know no envelope) are taken as this contract, which is
   * then the only such one of its channel. Default false: they go to the dead-letter channel.
   */
  readonly untyped?: boolean;
}

/** Options of a contract whose payload a schema describes. */
export interface SchemaOptions<Schema extends StandardSchema> extends CommonOptions {
  /** Any Standard Schema. Sending validates its input and sends it as given; receiving parses to its output. */
  readonly schema: Schema;
  /** Default JSON. */
  readonly codec?: Codec;
}

/** Options of a contract whose payload is whatever its codec reads, such as bytes. */
export interface CodecOptions extends CommonOptions {
  readonly codec: Codec & { readonly contentType: "application/octet-stream" };
  readonly schema?: never;
}

/** The ordering key; required where the channel is ordered. */
export type KeyOption<Payload, Ordered extends boolean> = true extends Ordered
  ? { readonly key: (payload: Payload) => string }
  : { readonly key?: (payload: Payload) => string };

/** How a channel makes contracts. */
export interface MakeContract<
  Kind extends MessageKind,
  ChannelKind extends ChannelInfo["kind"],
  Ordered extends boolean,
> {
  /**
   * @param type letters, digits, `.`, `-` and `_`, at most 100; unique within the channel together with the version
   * @throws INVALID_NAME, INVALID_DECLARATION
   */
  <Schema extends StandardSchema>(
    type: string,
    options: SchemaOptions<Schema> & KeyOption<NoInfer<InputOf<Schema>>, Ordered>,
  ): Contract<Kind, ChannelKind, InputOf<Schema>, OutputOf<Schema>>;
  (
    type: string,
    options: CodecOptions & KeyOption<Uint8Array, Ordered>,
  ): Contract<Kind, ChannelKind, Uint8Array, Uint8Array>;
}

/** What {@link MakeContract} takes, without its types. */
interface AnyOptions extends CommonOptions {
  readonly schema?: StandardSchema;
  readonly codec?: Codec;
  readonly key?: (payload: never) => string;
}

export function contractMaker<
  Kind extends MessageKind,
  ChannelKind extends ChannelInfo["kind"],
  Ordered extends boolean,
>(kind: Kind, channel: ChannelInfo & { readonly kind: ChannelKind }): MakeContract<Kind, ChannelKind, Ordered> {
  function make<Schema extends StandardSchema>(
    type: string,
    options: SchemaOptions<Schema>,
  ): Contract<Kind, ChannelKind, InputOf<Schema>, OutputOf<Schema>>;
  function make(type: string, options: CodecOptions): Contract<Kind, ChannelKind, Uint8Array, Uint8Array>;
  function make(type: string, options: AnyOptions): Contract<Kind, ChannelKind, never> {
    checkOptions(kind, channel, type, options);
    return Object.freeze({
      id: `${channel.kind}:${channel.name}:${type}:${options.version ?? 1}`,
      kind,
      channel,
      type,
      version: options.version ?? 1,
      codec: options.codec ?? json,
      untyped: options.untyped ?? false,
      schema: options.schema,
      keyOf: options.key,
    });
  }
  return make;
}

function checkOptions(kind: MessageKind, channel: ChannelInfo, type: string, options: AnyOptions): void {
  checkType(type);
  const name = `The ${kind} ${JSON.stringify(type)} on ${channel.kind} ${JSON.stringify(channel.name)}`;
  const version = options.version ?? 1;
  if (!Number.isInteger(version) || version < 1 || version > 1_000_000) {
    throw new PosthornError(
      "INVALID_DECLARATION",
      `${name} has version ${String(version)}: it must be a whole number from 1 to 1,000,000.`,
    );
  }
  if (options.schema === undefined && options.codec === undefined) {
    throw new PosthornError("INVALID_DECLARATION", `${name} has neither a schema nor a codec: give one of them.`);
  }
  if (options.schema !== undefined && typeof options.schema["~standard"]?.validate !== "function") {
    throw new PosthornError(
      "INVALID_DECLARATION",
      `${name} has a schema that is no Standard Schema: use zod 3.24+, valibot 1+, arktype 2+ or another library that implements it.`,
    );
  }
  if (channel.ordered && options.key === undefined) {
    throw new PosthornError(
      "INVALID_DECLARATION",
      `${name} has no key, and its channel is ordered: add key: (payload) => … .`,
    );
  }
}
