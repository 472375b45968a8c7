/** A dead letter as a line of NDJSON. */
import type { DeadLetter } from "./dead-letter.ts";

/**
 * The body is text (`body`) where it is UTF-8, and base64 (`bodyBase64`) otherwise: either gives the same bytes back. Times are
 * ISO 8601; what is not set is left out.
 */
export function deadLetterLine(dead: DeadLetter): string {
  const { body, headers, time, notBefore, expiresAt, ...envelope } = dead.message;
  const { message: _, ...record } = dead;
  const line = {
    ...record,
    message: {
      ...envelope,
      time: isoTime(time),
      notBefore: isoTime(notBefore),
      expiresAt: isoTime(expiresAt),
      headers: { ...headers },
      ...bodyOf(body),
    },
  };
  return `${JSON.stringify(line)}\n`;
}

/** Foreign times may lie beyond what a date can hold. */
function isoTime(time: number | undefined): string | number | undefined {
  if (time === undefined) return undefined;
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toISOString();
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function bodyOf(body: Uint8Array): { body: string } | { bodyBase64: string } {
  try {
    return { body: utf8.decode(body) };
  } catch {
    return { bodyBase64: base64(body) };
  }
}

/** In pieces: a call takes only so many arguments. */
function base64(bytes: Uint8Array): string {
  const pieceBytes = 8_192;
  let binary = "";
  for (let start = 0; start < bytes.length; start += pieceBytes)
    binary += String.fromCharCode(...bytes.subarray(start, start + pieceBytes));
  return btoa(binary);
}
