/** Bugs in the order of keys. */
import type { ChannelInfo } from "@posthorn/core";
import { systemClock } from "@posthorn/core";
import type { Address, Delivery, Settlement, Source } from "@posthorn/core/transport";
import { copyMessage } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";
import type { Mutant, Plant } from "./mutant.ts";
import { consuming, mutant, receiving, sending } from "./mutant.ts";

const isOrdered = (place: Address | Source): boolean => place.kind !== "reply" && place.channel.ordered;

const unorderedChannel = ({ kind, name }: ChannelInfo): ChannelInfo => ({ kind, name, ordered: false });
const unordered = <Place extends Address | Source>(place: Place): Place =>
  place.kind === "reply" ? place : { ...place, channel: unorderedChannel(place.channel) };

/** What was made as ordered is asked for as what it is not. */
const madeUnordered: Plant = (inner) =>
  wrapTransport(inner, {
    provision: ({ channels, groups }, mode, options) =>
      inner.provision(
        {
          channels: channels.map(unorderedChannel),
          groups: groups.map((group) => ({ ...group, channel: unorderedChannel(group.channel) })),
        },
        mode,
        options,
      ),
    dispatch: (batch, options) =>
      sending(({ address, message }) => ({ address: unordered(address), message }))(inner).dispatch(batch, options),
    consume: (source, receive, options) => inner.consume(unordered(source), receive, options),
    admin: {
      depth: (source, options) => inner.admin.depth(unordered(source), options),
      walk: (source, visit, options) => inner.admin.walk(unordered(source), visit, options),
      purge: (source, options) => inner.admin.purge(unordered(source), options),
    },
  });

/** Holds each second delivery back until another one has come, or for a moment. */
const swapped: Plant = receiving((receive, _, source) => {
  let held: (() => void) | undefined;
  let count = 0;
  return async (delivery) => {
    if (!isOrdered(source) || ++count % 2 === 0) {
      const settlement = receive(delivery);
      held?.();
      held = undefined;
      return settlement;
    }
    await new Promise<void>((resolve) => {
      held = resolve;
      systemClock.setTimeout(resolve, 20);
    });
    return receive(delivery);
  };
});

/** What is given back goes to the end of the line. */
const sentAgain: Plant = receiving((receive, inner, source) => async (delivery): Promise<Settlement> => {
  const settlement = await receive(delivery);
  if (settlement === "accept" || source.kind !== "inlet" || !isOrdered(source)) return settlement;
  await inner.dispatch([{ address: source, message: copyMessage(delivery.message, {}) }], {
    signal: AbortSignal.timeout(1_000),
  });
  return "accept";
});

/** Whoever stops gives back at once what it still works on. */
const lettingGo: Plant = (inner) => {
  const pending = new Set<(settlement: Settlement) => void>();
  const holding = receiving((receive) => async (delivery: Delivery) => {
    const { promise, resolve } = Promise.withResolvers<Settlement>();
    pending.add(resolve);
    const settlement = await Promise.race([receive(delivery), promise]);
    pending.delete(resolve);
    return settlement;
  })(inner);
  return consuming((consumption) => ({
    async stop() {
      await consumption.stop();
      for (const resolve of pending) resolve("release");
      pending.clear();
    },
  }))(holding);
};

export const orderMutants: readonly Mutant[] = [
  mutant("Ordered channels are made as any other.", ["I1", "I1p", "I5", "X4-1"], madeUnordered),
  mutant("Neighbours on an ordered channel change places.", ["I1b", "I5", "I8"], swapped),
  mutant("What is given back on an ordered channel goes to the end of the line.", ["I6t"], sentAgain),
  mutant("A consumption that stops gives its keys away before it has ended.", ["I6t", "I6"], lettingGo),
  mutant(
    "What goes to the inlet of an ordered channel has lost its key.",
    ["I9"],
    sending(({ address, message }) => ({
      address,
      message: address.kind === "inlet" && isOrdered(address) ? copyMessage(message, { key: undefined }) : message,
    })),
  ),
  mutant(
    "What is delayed on an ordered channel is not delayed.",
    ["G7"],
    sending(({ address, message }) => ({
      address,
      message: isOrdered(address) ? copyMessage(message, { notBefore: undefined }) : message,
    })),
  ),
];
