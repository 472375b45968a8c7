/** Bugs in sending, and in the receipts for it. */
import type { Address, Receipt } from "@posthorn/core/transport";
import { accepted, failed, isPosthornError, PosthornError } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";
import type { Mutant } from "./mutant.ts";
import { answering, mutant, sending } from "./mutant.ts";

const never = new AbortController().signal;
const isUnknown = (receipt: Receipt): boolean => !receipt.accepted && isPosthornError(receipt.error, "UNKNOWN_OUTCOME");
const ofNoGroup = (address: Address): Address =>
  address.kind === "dead-letters" && address.channel.kind === "topic" ? { ...address, group: "all" } : address;

export const dispatchMutants: readonly Mutant[] = [
  mutant(
    "Every receipt says accepted.",
    ["B5", "L2"],
    answering((receipts) => receipts.map(() => accepted)),
  ),
  mutant(
    "One failed receipt fails the batch.",
    ["L2"],
    answering((receipts) => {
      const failure = receipts.find((receipt) => !receipt.accepted);
      return failure === undefined ? receipts : receipts.map(() => failure);
    }),
  ),
  mutant(
    "Receipts come in another order.",
    ["L2"],
    answering((receipts) => [...receipts.slice(1), ...receipts.slice(0, 1)]),
  ),
  mutant(
    "Dispatch throws what a receipt should say.",
    ["B5", "L2"],
    answering((receipts) => {
      const failure = receipts.find((receipt) => !receipt.accepted);
      if (failure?.accepted === false) throw failure.error;
      return receipts;
    }),
  ),
  mutant(
    "An unknown outcome is told as not sent.",
    ["O6"],
    answering((receipts) =>
      receipts.map((receipt) =>
        isUnknown(receipt) ? failed(new PosthornError("CONNECTION_LOST", "It was not sent.")) : receipt,
      ),
    ),
  ),
  mutant(
    "An unknown outcome is told as accepted.",
    ["O6"],
    answering((receipts) => receipts.map((receipt) => (isUnknown(receipt) ? accepted : receipt))),
  ),
  mutant("Dispatch does not heed its signal.", ["M4t", "O7"], (inner) =>
    wrapTransport(inner, { dispatch: (batch) => inner.dispatch(batch, { signal: never }) }),
  ),
  mutant("A dispatch that was given up is sent all the same.", ["O7"], (inner) =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        const receipts = await inner.dispatch(batch, options);
        const lost = batch.filter((_, index) => {
          const receipt = receipts[index];
          return receipt?.accepted === false && isPosthornError(receipt.error, "CONNECTION_LOST");
        });
        if (lost.length > 0) void inner.dispatch(lost, { signal: never });
        return receipts;
      },
    }),
  ),
  mutant("A message is confirmed before the broker has it.", ["O7"], (inner) =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        if (inner.health().status === "connected") return inner.dispatch(batch, options);
        void inner.dispatch(batch, { signal: never });
        return batch.map(() => accepted);
      },
    }),
  ),
  mutant("Every message is sent twice.", ["B1", "F1"], (inner) =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        await inner.dispatch(batch, options);
        return inner.dispatch(batch, options);
      },
    }),
  ),
  mutant("Dead letters are dropped.", ["F1", "H1", "R1"], (inner) =>
    wrapTransport(inner, {
      dispatch: async (batch, options) =>
        batch[0]?.address.kind === "dead-letters" ? batch.map(() => accepted) : inner.dispatch(batch, options),
    }),
  ),
  mutant("A dead letter is confirmed before the broker has it.", ["H2b"], (inner) =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        if (batch[0]?.address.kind !== "dead-letters") return inner.dispatch(batch, options);
        void inner.dispatch(batch, options);
        return batch.map(() => accepted);
      },
    }),
  ),
  mutant("All groups of a topic share their dead letters.", ["F4d"], (inner) => {
    const sharing = sending(({ address, message }) => ({ address: ofNoGroup(address), message }))(inner);
    return wrapTransport(sharing, {
      provision: ({ channels, groups }, mode, options) =>
        inner.provision(
          {
            channels,
            groups: [
              ...groups,
              ...groups
                .filter(({ channel }) => channel.kind === "topic")
                .map((group) => ({ ...group, name: "all", types: [] })),
            ],
          },
          mode,
          options,
        ),
      admin: {
        depth: (source, options) => inner.admin.depth(source, options),
        walk: (source, visit, options) => inner.admin.walk(ofNoGroup(source) as typeof source, visit, options),
        purge: (source, options) => inner.admin.purge(source, options),
      },
    });
  }),
];
