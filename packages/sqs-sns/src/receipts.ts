/** What became of a message, as the contract words it. */
import type { Message, Receipt } from "@posthorn/core/transport";
import { accepted, failed, messageOf, PosthornError } from "@posthorn/core/transport";
import type { EntryResult } from "./aws.ts";
import { awsError, noResult } from "./errors.ts";

/** @param result of the message's entry; `undefined` where the answer does not say */
export function receiptOf(result: EntryResult | undefined, what: string): Receipt {
  if (result?.ok === true) return accepted;
  const error = awsError(result ?? { code: noResult, message: "It was not answered." }, what);
  if (result?.senderFault !== false || error.code !== "TRANSPORT_FAILED") return refused(error);
  return failed(new PosthornError("REJECTED", error.message, { cause: result, details: error.details }));
}

/** To a sender bad credentials are one more way in which he may not. */
export function refused(error: PosthornError): Receipt {
  const { code, message, details } = error;
  return failed(
    code === "AUTHENTICATION_FAILED" ? new PosthornError("ACCESS_REFUSED", message, { cause: error, details }) : error,
  );
}

/** @param bytes as it would be sent */
export function tooLarge({ id }: Message, bytes: number, maxMessageBytes: number): Receipt {
  const text = `Message ${id} takes ${bytes} bytes on SQS and SNS, and at most ${maxMessageBytes} are allowed. Bytes that are no text travel as base64, which is a third longer.`;
  return failed(new PosthornError("MESSAGE_TOO_LARGE", text, { details: { bytes, maxMessageBytes } }));
}

export function notEncodable({ id }: Message, cause: unknown): Receipt {
  return failed(
    new PosthornError("TRANSPORT_FAILED", `Message ${id} cannot be encoded: ${messageOf(cause)}`, { cause }),
  );
}
