/** Brokers that cannot be had here are named in the closing summary, and fail where `CI` is set. */
import { describe, expect, test } from "vitest";
import type { Missing } from "../brokers/ways.ts";

export function declareMissing(broker: string, missing: readonly Missing[]): void {
  for (const { version, reason } of missing) {
    describe(`${broker} ${version}`, () => {
      test("the broker cannot be had here", ({ task }) => {
        task.meta.missing = reason;
        expect({ CI: process.env["CI"], reason }).toEqual({ CI: undefined, reason });
      });
    });
  }
}

/** Of the versions that the tests know, those that the environment variable lists. */
export function wantedVersions<Version extends string>(
  known: readonly Version[],
  variable: string,
  otherwise: readonly Version[],
): readonly Version[] {
  const wanted: readonly string[] = process.env[variable]?.split(",") ?? otherwise;
  return known.filter((version) => wanted.includes(version));
}

declare module "vitest" {
  interface TaskMeta {
    /** Why the broker that this suite is about is not there. */
    missing?: string;
  }
}
