/** A Standard Schema by hand: the suite brings no schema library. */
import type { SchemaResult, StandardSchema } from "@posthorn/core";

export function schema<Input, Output = Input>(
  validate: (value: unknown) => SchemaResult<Output>,
): StandardSchema<Input, Output> {
  return { "~standard": { version: 1, vendor: "posthorn-contract-tests", validate } };
}

/** Takes every value as it is. */
export function anything<Payload>(): StandardSchema<Payload> {
  return schema((value) => ({ value: value as Payload }));
}

/** The payload of most cases. */
export interface Numbered {
  readonly n: number;
}

/** Takes `{ n: <a whole number> }`, and leaves out what it does not know. */
export const numbered: StandardSchema<Numbered> = schema((value) => {
  const n: unknown = typeof value === "object" && value !== null && "n" in value ? value.n : undefined;
  if (typeof n === "number" && Number.isInteger(n)) return { value: { n } };
  return { issues: [{ message: `must be a whole number, not ${JSON.stringify(n)}`, path: ["n"] }] };
});
