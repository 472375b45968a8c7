/** Bugs in delays, and in what goes back to a group's inlet. */
import type { Transport } from "@posthorn/core";
import { systemClock } from "@posthorn/core";
import type { Message, Outbound } from "@posthorn/core/transport";
import { accepted, channelAddress, copyMessage, isPosthornError } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";
import type { Mutant } from "./mutant.ts";
import { answering, mutant, receivingMessage, sending, sendingMessage } from "./mutant.ts";

const never = new AbortController().signal;
/** How much too soon a hasty broker is. */
const hastyMs = 60;

const delayOf = ({ notBefore }: Message): number => (notBefore === undefined ? 0 : notBefore - Date.now());
const isDelayed = ({ message }: Outbound): boolean => delayOf(message) > 0;
const goesToInlet = ({ address }: Outbound): boolean => address.kind === "inlet";

/** What is chosen is kept from the broker; its receipt says that all is well. */
function keeping(chosen: (outbound: Outbound) => boolean, keep: (outbound: Outbound, inner: Transport) => void) {
  return (inner: Transport): Transport =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        const kept = new Set(batch.filter(chosen));
        const sent = batch.filter((each) => !kept.has(each));
        const receipts = sent.length === 0 ? [] : [...(await inner.dispatch(sent, options))];
        return batch.map((each) => {
          if (!kept.has(each)) return receipts.shift() ?? accepted;
          keep(each, inner);
          return accepted;
        });
      },
    });
}

const sendLater = (outbound: Outbound, inner: Transport): void =>
  void systemClock.setTimeout(() => void inner.dispatch([outbound], { signal: never }), delayOf(outbound.message));

export const delayMutants: readonly Mutant[] = [
  mutant(
    "Delays are ignored, and forgotten.",
    ["G1", "G1t", "F2d"],
    sendingMessage(() => ({ notBefore: undefined })),
  ),
  mutant("Delays are a little shorter than they should be.", ["G1t"], (inner) =>
    receivingMessage(({ message: { notBefore } }) => ({
      notBefore: notBefore === undefined ? undefined : notBefore + hastyMs,
    }))(
      sendingMessage(({ notBefore }) => ({ notBefore: notBefore === undefined ? undefined : notBefore - hastyMs }))(
        inner,
      ),
    ),
  ),
  mutant(
    "Delays of what goes to an inlet are forgotten.",
    ["G1t", "F2d"],
    sending((outbound) =>
      goesToInlet(outbound)
        ? { address: outbound.address, message: copyMessage(outbound.message, { notBefore: undefined }) }
        : outbound,
    ),
  ),
  mutant(
    "What is delayed is dropped.",
    ["G1", "G4", "E4d"],
    keeping(isDelayed, () => undefined),
  ),
  mutant("What is delayed comes twice.", ["G1", "G1p", "F1d"], (inner) =>
    wrapTransport(inner, {
      async dispatch(batch, options) {
        const delayed = batch.filter(isDelayed);
        if (delayed.length > 0) await inner.dispatch(delayed, options);
        return inner.dispatch(batch, options);
      },
    }),
  ),
  mutant("What is delayed waits in the process that sent it.", ["G4", "E4r"], keeping(isDelayed, sendLater)),
  mutant(
    "Dead letters are delayed.",
    ["G1t"],
    keeping((outbound) => outbound.address.kind === "dead-letters" && isDelayed(outbound), sendLater),
  ),
  mutant("A delay holds up shorter ones that come after it.", ["G2"], (inner) => {
    let latest = 0;
    return sendingMessage((message) => {
      if (delayOf(message) <= 0) return {};
      latest = Math.max(latest, message.notBefore ?? 0);
      return { notBefore: latest };
    })(inner);
  }),
  mutant(
    "What is delayed and can go nowhere is accepted.",
    ["G5"],
    answering((receipts, batch) =>
      receipts.map((receipt, index) => {
        const message = batch[index]?.message;
        const nowhere = !receipt.accepted && isPosthornError(receipt.error, "UNROUTABLE");
        return nowhere && message !== undefined && delayOf(message) > 0 ? accepted : receipt;
      }),
    ),
  ),
  mutant(
    "What goes to a group's inlet goes to all groups.",
    ["F4r", "H4", "G1t"],
    sending(({ address, message }) => ({
      address: address.kind === "inlet" ? channelAddress(address.channel) : address,
      message,
    })),
  ),
  mutant(
    "The number of the attempt is lost on the way.",
    ["E4d", "F1d"],
    sendingMessage(() => ({ attempt: 1 })),
  ),
  mutant(
    "The copy for the next attempt is confirmed before the broker has it.",
    ["H2c"],
    keeping(goesToInlet, (outbound, inner) => void inner.dispatch([outbound], { signal: never })),
  ),
  {
    bug: "One message in twenty is accepted and dropped.",
    killedBy: ["X1", "X4-1"],
    plant() {
      let count = 0;
      return keeping(
        () => ++count % 20 === 0,
        () => undefined,
      );
    },
  },
];
