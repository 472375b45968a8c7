import type { Message } from "@posthorn/core";
import { sampleMessage } from "@posthorn/core/testing";
import { uuidv7 } from "@posthorn/core/transport";

/** A message for cases that speak to the transport itself. */
export function plainMessage(changes: Partial<Message> = {}): Message {
  return sampleMessage({ id: uuidv7(Date.now()), time: Date.now(), ...changes });
}
