/** Bugs in receiving and settling. */
import type { ChannelInfo } from "@posthorn/core";
import { systemClock } from "@posthorn/core";
import type { Address, Consumption, Settlement, Source, Topology } from "@posthorn/core/transport";
import { channelAddress } from "@posthorn/core/transport";
import { withMessage, wrapTransport } from "../wrap-transport.ts";
import type { Mutant } from "./mutant.ts";
import { consuming, mutant, receiving, sending, settling } from "./mutant.ts";

/** Shorter than any lease in the suite. */
const forgottenLeaseMs = 200;
/** How long a lazy adapter collects settlements. */
const collectedMs = 100;

const after = (delayMs: number): Promise<void> =>
  new Promise((resolve) => void systemClock.setTimeout(resolve, delayMs));
const idle: Consumption = {
  pause: () => undefined,
  resume: () => undefined,
  resize: () => undefined,
  stop: async () => undefined,
};

const shared = "shared";
const sharedSource = (source: Source): Source =>
  source.kind !== "reply" && source.channel.kind === "topic" ? { ...source, group: shared } : source;
const sharedTopology = ({ channels, groups }: Topology): Topology => ({
  channels,
  groups: groups.map((group) => (group.channel.kind === "topic" ? { ...group, name: shared } : group)),
});

export const deliveryMutants: readonly Mutant[] = [
  mutant(
    "A delivery is accepted before it is handled.",
    ["E3f", "N2"],
    receiving((receive) => async (delivery) => {
      void receive(delivery);
      return "accept";
    }),
  ),
  mutant(
    "A release settles as an accept.",
    ["N2", "E2r"],
    settling(() => "accept"),
  ),
  mutant(
    "An accept settles as a release.",
    ["B1", "E1"],
    settling(() => "release"),
  ),
  mutant(
    "A release publishes the message to the whole topic again.",
    ["E2r"],
    receiving((receive, inner, source) => async (delivery): Promise<Settlement> => {
      const settlement = await receive(delivery);
      if (settlement === "accept" || source.kind !== "inlet") return settlement;
      await inner.dispatch([{ address: channelAddress(source.channel), message: delivery.message }], {
        signal: AbortSignal.timeout(1_000),
      });
      return "accept";
    }),
  ),
  mutant(
    "Every delivery is received twice.",
    ["B1", "D1", "C1"],
    receiving((receive) => async (delivery) => {
      const [settlement] = await Promise.all([receive(delivery), receive(delivery)]);
      return settlement;
    }),
  ),
  mutant(
    "A lease is not kept alive.",
    ["E7"],
    receiving(
      (receive) => (delivery) =>
        Promise.race([receive(delivery), after(forgottenLeaseMs).then((): Settlement => "release")]),
    ),
  ),
  mutant(
    "The loss of a lease is never told.",
    ["O1h", "O1d", "E5"],
    receiving(
      (receive) => (delivery) =>
        receive(withMessage(delivery, delivery.message, { lost: new AbortController().signal })),
    ),
  ),
  mutant("The settlements that are collected are dropped by close.", ["E1", "N1"], (inner) => {
    let closed = false;
    const collecting = receiving((receive) => async (delivery) => {
      const settlement = await receive(delivery);
      await after(collectedMs);
      return closed ? new Promise<never>(() => undefined) : settlement;
    })(inner);
    return wrapTransport(collecting, {
      close(options) {
        closed = true;
        return inner.close(options);
      },
    });
  }),
  mutant("One delivery more than allowed is in flight.", ["M1t", "M2t"], (inner) =>
    consuming(
      (consumption) => ({ resize: (maxInFlight) => consumption.resize(maxInFlight + 1) }),
      (options) => ({ ...options, maxInFlight: options.maxInFlight + 1 }),
    )(inner),
  ),
  mutant(
    "The limit of what is in flight is ignored.",
    ["M1t", "M3"],
    consuming(
      () => ({ resize: () => undefined }),
      (options) => ({ ...options, maxInFlight: 1_000_000 }),
    ),
  ),
  mutant(
    "A new limit of what is in flight is ignored.",
    ["M2t"],
    consuming(() => ({ resize: () => undefined })),
  ),
  mutant(
    "One delivery fewer than allowed is in flight.",
    ["M1t"],
    consuming(
      () => ({}),
      (options) => ({ ...options, maxInFlight: Math.max(1, options.maxInFlight - 1) }),
    ),
  ),
  mutant(
    "Pause is ignored.",
    ["M5t"],
    consuming(() => ({ pause: () => undefined })),
  ),
  mutant(
    "Resume is forgotten.",
    ["M5", "M5t"],
    consuming(() => ({ resume: () => undefined })),
  ),
  mutant(
    "Stop goes on delivering.",
    ["M6"],
    consuming(() => ({ stop: async () => undefined })),
  ),
  mutant("Stop forgets the deliveries that are pending.", ["N1"], (inner) => {
    let stopped = false;
    const forgetting = receiving((receive) => async (delivery) => {
      const settlement = await receive(delivery);
      return stopped ? "release" : settlement;
    })(inner);
    return consuming((consumption) => ({
      stop() {
        stopped = true;
        return consumption.stop();
      },
    }))(forgetting);
  }),
  mutant("A consumer begins with what comes after it.", ["B2", "C2"], (inner) =>
    wrapTransport(inner, {
      async consume(source, receive, options) {
        if (source.kind === "inlet") await inner.admin.purge(source, options);
        return inner.consume(source, receive, options);
      },
    }),
  ),
  mutant("Two groups of a topic share one queue.", ["C1", "F4"], (inner) =>
    wrapTransport(inner, {
      provision: (topology, mode, options) => inner.provision(sharedTopology(topology), mode, options),
      consume: (source, receive, options) => inner.consume(sharedSource(source), receive, options),
      dispatch: (batch, options) =>
        inner.dispatch(
          batch.map(({ address, message }) => ({
            address:
              address.kind === "channel" || address.kind === "reply" ? address : (sharedSource(address) as Address),
            message,
          })),
          options,
        ),
    }),
  ),
  mutant("Queues whose names differ only in case are one.", ["B3"], (inner) => {
    const one = ({ kind, name, ordered }: ChannelInfo): ChannelInfo => ({
      kind,
      name: kind === "queue" ? name.toLowerCase() : name,
      ordered,
    });
    const atOne = <Place extends { readonly channel: ChannelInfo }>(place: Place): Place => ({
      ...place,
      channel: one(place.channel),
      ...("group" in place && place.channel.kind === "queue" ? { group: one(place.channel).name } : {}),
    });
    const address = (given: Address): Address => (given.kind === "reply" ? given : atOne(given));
    return wrapTransport(inner, {
      provision: ({ channels, groups }, mode, options) =>
        inner.provision(
          {
            channels: channels.map(one),
            groups: groups.map((group) =>
              group.channel.kind === "queue" ? { ...atOne(group), name: one(group.channel).name } : group,
            ),
          },
          mode,
          options,
        ),
      consume: (source, receive, options) =>
        inner.consume(source.kind === "reply" ? source : atOne(source), receive, options),
      dispatch: (batch, options) =>
        sending((outbound) => ({ ...outbound, address: address(outbound.address) }))(inner).dispatch(batch, options),
    });
  }),
  {
    bug: "The first instance of a group gets everything.",
    killedBy: ["D1"],
    plant() {
      const consumed = new Set<string>();
      return (inner) =>
        wrapTransport(inner, {
          async consume(source, receive, options) {
            if (consumed.has(source.id)) return idle;
            consumed.add(source.id);
            return inner.consume(source, receive, options);
          },
        });
    },
  },
];
