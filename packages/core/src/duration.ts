const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Milliseconds, from milliseconds or a text such as `"500ms"`, `"30s"`, `"5m"`, `"2h"` or `"1d"`. NaN for anything else.
 */
export function durationMs(duration: number | string): number {
  if (typeof duration === "number") return duration;
  const match = typeof duration === "string" ? /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(duration.trim()) : null;
  return match === null ? Number.NaN : Number(match[1]) * (units[match[2] ?? ""] ?? Number.NaN);
}
