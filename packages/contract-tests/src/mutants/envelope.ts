/** Bugs that spoil what travels. */
import type { Headers, Message } from "@posthorn/core/transport";
import { failed, PosthornError, uuidv7 } from "@posthorn/core/transport";
import { text, utf8 } from "../bytes.ts";
import { withMessage, wrapTransport } from "../wrap-transport.ts";
import type { Mutant, Plant } from "./mutant.ts";
import { mutant, receiving, receivingMessage, sendingMessage } from "./mutant.ts";

function mapHeaders(headers: Headers, change: (name: string, value: string) => readonly [string, string]): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => change(name, value)));
}

function reformatted({ contentType, body }: Message): Uint8Array {
  if (!contentType.toLowerCase().startsWith("application/json")) return body;
  try {
    return utf8(JSON.stringify(JSON.parse(text(body))));
  } catch {
    return body;
  }
}

const sizedInBase64: Plant = (inner) =>
  wrapTransport(inner, {
    async dispatch(batch, options) {
      if (batch.every(({ message }) => (message.body.length * 4) / 3 <= inner.capabilities.maxMessageBytes))
        return inner.dispatch(batch, options);
      return batch.map(() => failed(new PosthornError("MESSAGE_TOO_LARGE", "Too large in base64.")));
    },
  });

export const envelopeMutants: readonly Mutant[] = [
  mutant(
    "The time loses its milliseconds.",
    ["A1"],
    sendingMessage(({ time }) => ({ time: Math.floor(time / 1_000) * 1_000 })),
  ),
  mutant(
    "The correlation id is dropped.",
    ["A1", "A1c"],
    sendingMessage(() => ({ correlationId: undefined })),
  ),
  mutant(
    "The causation id is dropped.",
    ["A1", "A1c"],
    sendingMessage(() => ({ causationId: undefined })),
  ),
  mutant(
    "The key is dropped.",
    ["A1", "I1", "I5"],
    sendingMessage(() => ({ key: undefined })),
  ),
  mutant(
    "The version is dropped.",
    ["A1"],
    sendingMessage(() => ({ version: 1 })),
  ),
  mutant(
    "The id is made anew by the broker.",
    ["A1", "B1"],
    sendingMessage(() => ({ id: uuidv7(Date.now()) })),
  ),
  mutant(
    "Header values are trimmed.",
    ["A2", "H1"],
    sendingMessage(({ headers }) => ({ headers: mapHeaders(headers, (name, value) => [name, value.trim()]) })),
  ),
  mutant(
    "Header names are folded to lower case.",
    ["A1", "A2"],
    sendingMessage(({ headers }) => ({ headers: mapHeaders(headers, (name, value) => [name.toLowerCase(), value]) })),
  ),
  mutant(
    "Empty header values are left out.",
    ["A2", "A3"],
    sendingMessage(({ headers }) => ({
      headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== "")),
    })),
  ),
  mutant(
    "Long bodies lose their last byte.",
    ["Q1", "Q2"],
    sendingMessage(({ body }) => ({ body: body.length > 300 ? body.slice(0, -1) : body })),
  ),
  mutant(
    "Bodies travel as text.",
    ["Q2", "H1b"],
    sendingMessage(({ body }) => ({ body: utf8(text(body)) })),
  ),
  mutant(
    "JSON is read and written again on the way in.",
    ["H1b"],
    receivingMessage(({ message }) => ({ body: reformatted(message) })),
  ),
  mutant(
    "An empty body is dropped.",
    ["A4", "Q1"],
    receiving((receive) => async (delivery) => (delivery.message.body.length === 0 ? "accept" : receive(delivery))),
  ),
  mutant(
    "A redelivery gets a new id.",
    ["E2r", "A8u"],
    receivingMessage(({ message, deliveryCount }) =>
      deliveryCount === 1 ? {} : { id: `${message.id}-${deliveryCount}` },
    ),
  ),
  mutant(
    "A defect is not told.",
    ["R1d"],
    receiving((receive) => (delivery) => receive(withMessage(delivery, delivery.message, { defect: undefined }))),
  ),
  mutant(
    "What cannot be understood is dropped.",
    ["R1d"],
    receiving((receive) => async (delivery) => (delivery.defect === undefined ? receive(delivery) : "accept")),
  ),
  mutant("A message is refused by the size that it would have in base64.", ["Q1t"], sizedInBase64),
  {
    bug: "Two deliveries of a message share their objects.",
    killedBy: ["E2o"],
    plant() {
      const seen = new Map<string, Message>();
      return receiving((receive) => (delivery) => {
        const message = seen.get(delivery.message.id) ?? delivery.message;
        seen.set(message.id, message);
        return receive(withMessage(delivery, message));
      });
    },
  },
];
