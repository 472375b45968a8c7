import type { SqsBroker, SqsControl, SqsCredentials } from "./broker.ts";
import { poll, type PollOptions } from "./poll.ts";

/** What a broker says of itself. */
export type SqsHealth = Pick<SqsBroker, "version" | "authorizes">;

/** The access key that emulators know. */
export const testCredentials: SqsCredentials = { accessKeyId: "test", secretAccessKey: "test" };

/**
 * Asks an emulator how it is, by the ways to ask of ministack and LocalStack. Another one that answers is as it should be.
 *
 * @throws Error that names the endpoint when none answers there within 2 s.
 */
export async function probeSqs(endpoint: string): Promise<SqsHealth> {
  for (const emulator of ["ministack", "localstack"]) {
    const answer = await ask(new URL(`/_${emulator}/health`, endpoint));
    const health = answer.ok ? await answer.json().catch(() => undefined) : undefined; // another one's page
    if (isHealth(health)) return { version: `${emulator} ${health.version}`, authorizes: health.auth === "enabled" };
  }
  return { version: "unknown", authorizes: false };
}

/** Resolves as soon as an emulator answers. */
export function awaitSqs(endpoint: string, options: PollOptions): Promise<SqsHealth> {
  return poll(`an answer of SQS at ${endpoint}`, () => probeSqs(endpoint), options);
}

async function ask(url: URL): Promise<Response> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(2_000), headers: { connection: "close" } });
  } catch (error) {
    const { cause } = error as { readonly cause?: unknown };
    throw new Error(`nothing answers at ${url.origin}: ${cause instanceof Error ? cause.message : String(error)}`, {
      cause: error,
    });
  }
}

function isHealth(value: unknown): value is { readonly version: string; readonly auth?: string } {
  return typeof value === "object" && value !== null && "version" in value && typeof value.version === "string";
}

/** A broker that was started for a run. */
export function startedSqs(
  endpoint: string,
  health: SqsHealth,
  started: {
    readonly origin: "container" | "native";
    readonly control: SqsControl;
    readonly stop: () => Promise<void>;
  },
): SqsBroker {
  return {
    kind: "sqs",
    ...health,
    url: endpoint,
    endpoint,
    region: "us-east-1",
    credentials: testCredentials,
    ...started,
    [Symbol.asyncDispose]: started.stop,
  };
}
