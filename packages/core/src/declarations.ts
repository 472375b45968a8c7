/** What an application says before it starts, and what follows from it. */
import type { Address, ChannelInfo } from "./address.ts";
import { channelAddress } from "./address.ts";
import type { Handler } from "./handler.ts";
import type { Capabilities } from "./capabilities.ts";
import type { AnyContract } from "./contract.ts";
import { PosthornError } from "./errors.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Group, Topology } from "./topology.ts";

/** One handler and what it takes. */
export interface Registration {
  readonly contract: AnyContract;
  readonly handler: Handler<never>;
  readonly retry: RetryPolicy;
}

/** All handlers of one group of one channel. */
export interface Intake {
  readonly channel: ChannelInfo;
  readonly group: string;
  /** By type and version: see {@link handlerKey}. */
  readonly handlers: Map<string, Registration>;
  readonly types: Set<string>;
  /** Takes messages that name no type. */
  untyped: Registration | undefined;
  /** What its handlers share. */
  shared: SharedOptions;
}

/** Options of a subscription, which any of its handlers may give. */
export interface SharedOptions {
  readonly concurrency?: number;
  readonly maxHandlingMs?: number;
}

export interface Declarations {
  readonly intakes: ReadonlyMap<string, Intake>;
  /** Where a declared contract's messages go; `undefined` for one that was not declared. */
  addressOf(contract: AnyContract): Address | undefined;
  /** @throws INVALID_DECLARATION */
  declare(contract: AnyContract): void;
  /** @throws INVALID_DECLARATION */
  register(group: string, registration: Registration, options: SharedOptions): Intake;
  topology(): Topology;
  /** @throws UNSUPPORTED_CAPABILITY naming what asks for it */
  check(capabilities: Capabilities, system: string): void;
}

/** How a handler is found. */
export function handlerKey(type: string, version: number): string {
  return `${type}:${version}`;
}

export function createDeclarations(): Declarations {
  const contracts = new Map<string, { readonly contract: AnyContract; readonly address: Address }>();
  const channels = new Map<string, { readonly channel: ChannelInfo; readonly address: Address }>();
  const intakes = new Map<string, Intake>();

  const addChannel = (channel: ChannelInfo): Address => {
    const known = channels.get(channel.name);
    if (known === undefined) {
      const added = { channel, address: channelAddress(channel) };
      channels.set(channel.name, added);
      return added.address;
    }
    if (known.channel.kind !== channel.kind || known.channel.ordered !== channel.ordered) {
      refuse(
        `The channel ${JSON.stringify(channel.name)} is declared as ${describe(known.channel)} and as ${describe(channel)}: declare it once and share it.`,
      );
    }
    return known.address;
  };

  const declare = (contract: AnyContract): void => {
    const known = contracts.get(contract.id);
    if (known !== undefined && known.contract.kind !== contract.kind) {
      refuse(
        `The type ${JSON.stringify(contract.type)} version ${contract.version} on ${JSON.stringify(contract.channel.name)} is declared as ${known.contract.kind} and as ${contract.kind}.`,
      );
    }
    const address = addChannel(contract.channel);
    if (known === undefined) contracts.set(contract.id, { contract, address });
  };

  return {
    intakes,
    addressOf: (contract) => contracts.get(contract.id)?.address,
    declare,
    register(group, registration, options) {
      const { contract } = registration;
      declare(contract);
      const id = `${contract.channel.name}:${group}`;
      const intake = intakes.get(id) ?? {
        channel: contract.channel,
        group,
        handlers: new Map<string, Registration>(),
        types: new Set<string>(),
        untyped: undefined,
        shared: {},
      };
      const name = `${JSON.stringify(contract.type)} version ${contract.version} on ${JSON.stringify(contract.channel.name)}`;
      const key = handlerKey(contract.type, contract.version);
      if (intake.handlers.has(key))
        refuse(`${name} has a handler already: a group handles a type and version in one place.`);
      if (contract.untyped && intake.untyped !== undefined)
        refuse(
          `${name} takes messages without a type, and ${JSON.stringify(intake.untyped.contract.type)} does so already.`,
        );
      const shared: { concurrency?: number; maxHandlingMs?: number } = { ...intake.shared };
      for (const option of ["concurrency", "maxHandlingMs"] as const) {
        const value = options[option];
        if (value === undefined) continue;
        if (shared[option] !== undefined && shared[option] !== value) {
          refuse(
            `The handlers of ${JSON.stringify(contract.channel.name)} share one ${option}, and it is given as ${shared[option]} and as ${value}.`,
          );
        }
        shared[option] = value;
      }
      intake.handlers.set(key, registration);
      intake.types.add(contract.type);
      intake.shared = shared;
      if (contract.untyped) intake.untyped = registration;
      intakes.set(id, intake);
      return intake;
    },
    topology() {
      const queues: Group[] = [];
      for (const { channel } of channels.values())
        if (channel.kind === "queue") queues.push({ channel, name: channel.name, types: [] });
      const groups: Group[] = [];
      for (const intake of intakes.values())
        if (intake.channel.kind === "topic")
          groups.push({ channel: intake.channel, name: intake.group, types: [...intake.types] });
      return { channels: [...channels.values()].map(({ channel }) => channel), groups: [...queues, ...groups] };
    },
    check(capabilities, system) {
      for (const { channel } of channels.values()) {
        if (!channel.ordered || capabilities.ordering) continue;
        throw new PosthornError(
          "UNSUPPORTED_CAPABILITY",
          `The ${channel.kind} ${JSON.stringify(channel.name)} is declared ordered, and the transport (${system}) cannot keep order by key.`,
          {
            details: { capability: "ordering", channel: channel.name, system },
          },
        );
      }
    },
  };
}

function describe(channel: ChannelInfo): string {
  return `${channel.ordered ? "an ordered" : "an unordered"} ${channel.kind}`;
}

function refuse(message: string): never {
  throw new PosthornError("INVALID_DECLARATION", message);
}
