import { messageOf, PosthornError } from "@posthorn/core/transport";
import type { TopologyChange } from "@posthorn/core/transport";

/** AMQP 0-9-1 reply codes that mean something to us. */
export const replyCodes = {
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
} as const;

/** The broker's reply code that amqplib puts on an error; `undefined` on other errors. */
export function replyCode(error: unknown): number | undefined {
  return typeof error === "object" && error !== null && "code" in error && typeof error.code === "number"
    ? error.code
    : undefined;
}

/** Why a connection could not be opened, when trying again cannot help; `undefined` when it can. */
export function fatalConnectError(error: unknown, vhost: string): PosthornError | undefined {
  // amqplib gives the broker's refusal during the handshake in the text only.
  const text = messageOf(error);
  if (/^Handshake terminated by server: 403\b/.test(text)) {
    return new PosthornError(
      "AUTHENTICATION_FAILED",
      "RabbitMQ refused the credentials. Check username and password.",
      { cause: error },
    );
  }
  if (text.startsWith("SASL mechanism")) {
    return new PosthornError(
      "AUTHENTICATION_FAILED",
      "RabbitMQ does not offer to log in with a password (SASL PLAIN).",
      { cause: error },
    );
  }
  // The answer to connection.open; amqplib keeps its reason to itself.
  if (text.startsWith("Expected ConnectionOpenOk; got <ConnectionClose")) {
    const message = `RabbitMQ refused the virtual host ${JSON.stringify(vhost)}: it does not exist, the account may not use it, or a limit on connections is reached. Check vhost and permissions.`;
    return new PosthornError("ACCESS_REFUSED", message, { cause: error });
  }
  return undefined;
}

/** What a failed operation on a queue or exchange rejects with. */
export function operationError(error: unknown, what: string): PosthornError {
  switch (replyCode(error)) {
    case replyCodes.accessRefused:
      return new PosthornError(
        "ACCESS_REFUSED",
        `The account may not use ${what} on RabbitMQ. Grant it the permission.`,
        { cause: error },
      );
    case replyCodes.notFound:
      return new PosthornError("UNROUTABLE", `There is no ${what} on RabbitMQ.`, { cause: error });
    case undefined:
      return new PosthornError("CONNECTION_LOST", `The connection to RabbitMQ went away while ${what} was used.`, {
        cause: error,
      });
    default:
      return new PosthornError("TRANSPORT_FAILED", `RabbitMQ failed on ${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'", or with "the value 'quorum' of type 'longstr'", or "none" */
const inequivalent = /inequivalent arg '([^']+)' for .*: received (.+?) but current is (.+?)(?:"$|$)/;

/** A refused declaration as a difference; `undefined` when the error is of another kind. */
export function differenceOf(error: unknown, object: string, name: string): TopologyChange | undefined {
  const code = replyCode(error);
  if (code === replyCodes.resourceLocked)
    return { problem: "different", object, name, field: "exclusive", expected: `"false"`, actual: `"true"` };
  if (code !== replyCodes.preconditionFailed) return undefined;
  const match = inequivalent.exec(messageOf(error));
  if (match === null) return { problem: "different", object, name };
  const expected = readValue(match[2]);
  const actual = readValue(match[3]);
  return {
    problem: "different",
    object,
    name,
    field: match[1] ?? "",
    ...(expected === undefined ? {} : { expected }),
    ...(actual === undefined ? {} : { actual }),
  };
}

function readValue(text: string | undefined): string | undefined {
  const value = /'(.*?)'/.exec(text ?? "")?.[1];
  return value === undefined ? undefined : JSON.stringify(value);
}
