import { PosthornError } from "./errors.ts";

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const typePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const longestName = 100;

/** A group of this name would share its broker names with a queue's own dead letters or retries. */
const reservedGroups = new Set(["dlq", "retry"]);

/**
 * Checks the name of a channel, group or service: letters, digits, `-` and `_`, at most 100.
 *
 * The dot is left to the brokers' own names (`<channel>.<group>.dlq`), which therefore never collide.
 *
 * @throws INVALID_NAME
 */
export function checkName(what: "queue" | "topic" | "group" | "service", name: string): void {
  if (
    typeof name === "string" &&
    name.length <= longestName &&
    namePattern.test(name) &&
    !(what === "group" && reservedGroups.has(name))
  )
    return;
  const rule = reservedGroups.has(name)
    ? `"dlq" and "retry" are reserved`
    : `it must begin with a letter or digit and hold only letters, digits, "-" and "_", at most ${longestName}`;
  throw new PosthornError(
    "INVALID_NAME",
    `The ${what} name ${JSON.stringify(name)} cannot be carried by every broker: ${rule}.`,
    { details: { what, name } },
  );
}

/**
 * Checks a message type: as a name, and dots may stand inside.
 *
 * @throws INVALID_NAME
 */
export function checkType(type: string): void {
  if (typeof type === "string" && type.length <= longestName && typePattern.test(type)) return;
  throw new PosthornError(
    "INVALID_NAME",
    `The message type ${JSON.stringify(type)} cannot be carried by every broker: it must begin with a letter or digit and hold only letters, digits, ".", "-" and "_", at most ${longestName}.`,
    { details: { what: "type", name: type } },
  );
}
