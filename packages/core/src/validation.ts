/** A payload against its contract's schema. */
import type { AnyContract } from "./contract.ts";
import { isPosthornError, messageOf, PosthornError } from "./errors.ts";
import type { SchemaIssue, SchemaResult } from "./standard-schema.ts";
import { pathOf } from "./standard-schema.ts";

/** At most so many issues are told, each in at most so many characters. */
const mostIssues = 20;
const longestIssue = 200;

/**
 * @returns the schema's output, or the value itself where there is no schema; a promise only where the schema validates
 * asynchronously
 * @throws SCHEMA_VIOLATION
 */
export function validate(contract: AnyContract, value: unknown): unknown {
  if (contract.schema === undefined) return value;
  const result: unknown = contract.schema["~standard"].validate(value);
  return isThenable(result)
    ? Promise.resolve(result).then((settled) => outputOf(contract, settled))
    : outputOf(contract, result);
}

/** Promises of other realms and libraries as well. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function outputOf(contract: AnyContract, result: unknown): unknown {
  if (typeof result !== "object" || result === null) {
    throw new TypeError(
      `The schema of ${JSON.stringify(contract.type)} gave no result: it does not follow Standard Schema.`,
    );
  }
  const { issues, value } = result as Partial<SchemaResult<unknown>> & { readonly value?: unknown };
  if (issues !== undefined) throw schemaViolation(contract, issues);
  return value;
}

/** The words of the schema's library, for where the payload is at hand anyway; empty for any other error. */
export function issuesOf(error: unknown): string {
  if (!isPosthornError(error, "SCHEMA_VIOLATION")) return "";
  const { issues } = error.details;
  if (!Array.isArray(issues)) return "";
  return (issues as readonly ToldIssue[])
    .map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
    .join("; ");
}

interface ToldIssue {
  readonly path: string;
  readonly message: string;
}

/**
 * Tells where; what the schema's library says may quote the payload, so it stands only in `details.issues`, which is not
 * printed when the error is.
 */
function schemaViolation(contract: AnyContract, issues: readonly SchemaIssue[]): PosthornError {
  const told = issues
    .slice(0, mostIssues)
    .map((issue): ToldIssue => ({ path: pathOf(issue), message: messageOf(issue.message).slice(0, longestIssue) }));
  const paths = [...new Set(told.map(({ path }) => (path === "" ? "the payload itself" : path)))].join(", ");
  const more = issues.length > told.length ? ` and ${issues.length - told.length} more` : "";
  const details = { type: contract.type, version: contract.version };
  Object.defineProperty(details, "issues", { value: told });
  return new PosthornError(
    "SCHEMA_VIOLATION",
    `The ${contract.kind} ${JSON.stringify(contract.type)} does not match its schema, at ${paths}${more}: see details.issues.`,
    { details },
  );
}
