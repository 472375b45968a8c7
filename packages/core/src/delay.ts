/** When a message is to be delivered, for the options of `send` and `publish`. */
import { durationMs } from "./duration.ts";
import { PosthornError } from "./errors.ts";
import type { SendOptions } from "./handler.ts";

/**
 * Delivered when so much time has passed: `bus.send(Remind, data, deliverAfter("2h"))`. At once where it is not positive.
 *
 * @param delay milliseconds, or a text such as `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`
 * @throws INVALID_OPTION for anything else
 */
export function deliverAfter(delay: number | string): Pick<SendOptions, "delayMs"> {
  const delayMs = durationMs(delay);
  if (Number.isFinite(delayMs)) return { delayMs };
  throw refusal("delayMs", `deliverAfter takes milliseconds or a text such as "30s", not ${JSON.stringify(delay)}`);
}

/**
 * Not delivered before the given moment: `bus.send(Remind, data, deliverAt("2027-01-01T00:00:00Z"))`. At once where it has passed.
 *
 * @param time a date, milliseconds since the Unix epoch, or an ISO 8601 text that names its offset from UTC
 * @throws INVALID_OPTION for anything else
 */
export function deliverAt(time: Date | number | string): Pick<SendOptions, "notBefore"> {
  const readable = typeof time !== "string" || isoWithOffset.test(time);
  const notBefore = new Date(readable ? time : Number.NaN);
  if (!Number.isNaN(notBefore.getTime())) return { notBefore };
  throw refusal(
    "notBefore",
    `deliverAt takes a Date, milliseconds or a text such as "2027-01-01T00:00:00Z", not ${JSON.stringify(time)}`,
  );
}

/** Without an offset a text means another moment on every computer. */
const isoWithOffset = /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)$/i;

function refusal(option: string, why: string): PosthornError {
  return new PosthornError("INVALID_OPTION", `${why}.`, { details: { option } });
}
