/**
 * Which types a subscription lets through: `{"type":["order-placed","order-paid"]}`, of the message attribute that names the type.
 *
 * SNS takes at most 150 of them. A subscription that needs more lets every type through, and those that the group has no handler
 * for are left out when they are received.
 *
 * @see https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
 */
import { readJson } from "./queue-policy.ts";

/** No type is called that: AWS takes no empty list. */
const noType = "-";
const mostValues = 150;
/** Whatever it is. Not the same as no filter at all, which nobody may have meant. */
const anyType = { exists: true } as const;

/** @param types in whatever order */
export function filterPolicy(types: readonly string[]): string {
  return policyOf(types.length === 0 ? [noType] : types.toSorted());
}

function policyOf(values: readonly unknown[]): string {
  return JSON.stringify({ type: values.length > mostValues ? [anyType] : values });
}

/**
 * What a subscription's filter needs so that it lets these types through.
 *
 * @param actual `undefined`: there is none, and everything passes
 * @returns `enough`; `otherwise`, when it is not of our kind: it lets types through by other rules as well, or everything; or
 * the filter with the types that it lacks
 */
export function filterLacks(
  types: readonly string[],
  actual: string | undefined,
): "enough" | "otherwise" | { readonly wanted: string } {
  const filter = actual === undefined ? undefined : readJson(actual);
  if (typeof filter !== "object" || filter === null || !("type" in filter) || Object.keys(filter).length !== 1)
    return "otherwise";
  const { type: present } = filter;
  if (!Array.isArray(present)) return "otherwise";
  if (present.some(isAnyType)) return "enough";
  const lacking = types.filter((type) => !present.includes(type)).toSorted();
  if (lacking.length === 0) return "enough";
  const kept = present.filter((type) => type !== noType) as readonly unknown[];
  return { wanted: policyOf([...kept, ...lacking]) };
}

function isAnyType(value: unknown): boolean {
  return typeof value === "object" && value !== null && "exists" in value && value.exists === true;
}
