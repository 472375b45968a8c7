/**
 * How transports read their options, and what all of them say of a wrong one.
 *
 * Values are not repeated in an error: whatever was mistaken for an option may have been a secret.
 */
import { PosthornError } from "./errors.ts";

/** An object schema of zod, as far as it is used here: core depends on nothing. */
export interface OptionsSchema<Options> {
  readonly shape: object;
  readonly safeParse: (
    options: unknown,
  ) =>
    | { readonly success: true; readonly data: Options }
    | { readonly success: false; readonly error: { readonly issues: readonly OptionIssue[] } };
}

/** What is wrong with an option. */
export interface OptionIssue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** With the code `unrecognized_keys`. */
  readonly keys?: readonly string[];
}

/** What the text of an option in a URL is. */
export type QueryKind = "text" | "number" | "boolean";

/** @param reason a clause, such as `it must be a number` */
export function invalidOption(option: string, reason: string): PosthornError {
  return new PosthornError("INVALID_OPTION", `The option ${JSON.stringify(option)} is wrong: ${reason}.`, {
    details: { option },
  });
}

/**
 * @param whose such as `the RabbitMQ transport`
 * @throws INVALID_OPTION naming the first option that is wrong
 */
export function checkOptions<Options>(whose: string, schema: OptionsSchema<Options>, options: unknown): Options {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path ?? [];
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys?.[0] : undefined;
  const option = [...path, ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  if (unknown === undefined) throw invalidOption(option, issue?.message ?? "it is not valid");
  if (path.length > 0) throw invalidOption(option, "there is no option of this name");
  const known = Object.keys(schema.shape).join(", ");
  throw invalidOption(option, `${whose} has no option of this name; it knows ${known}`);
}

/**
 * The options behind the `?` of a URL. What is no number or truth value although it should be stays a text, which the schema refuses.
 *
 * @param whose such as `the RabbitMQ transport`
 * @param kinds those that a URL may have
 * @throws INVALID_OPTION naming an option that it may not have
 */
export function queryOptions(
  whose: string,
  kinds: Readonly<Record<string, QueryKind>>,
  query: URLSearchParams,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [name, value] of query) {
    if (!Object.hasOwn(kinds, name))
      throw invalidOption(name, `a URL of ${whose} takes only ${Object.keys(kinds).join(", ")}`);
    options[name] = readValue(kinds[name], value);
  }
  return options;
}

function readValue(kind: QueryKind | undefined, text: string): unknown {
  if (kind === "number") return /^-?\d+$/.test(text) ? Number(text) : text;
  if (kind === "boolean") return text === "true" ? true : text === "false" ? false : text;
  return text;
}

/**
 * A percent-encoded part of a URL.
 *
 * @throws INVALID_OPTION naming the option that the part is
 */
export function decodeUrlPart(option: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidOption(option, "it is not percent-encoded correctly in the URL");
  }
}
