/** A function in a process of its own that stands still between invocations, as AWS Lambda lets it. */
import { fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { LambdaContext, SqsBatchResponse, SqsEvent } from "@posthorn/sqs-sns";
import type { SqsBroker } from "../brokers/broker.ts";

export interface FrozenFunction extends AsyncDisposable {
  handler(event: SqsEvent, context?: LambdaContext): Promise<SqsBatchResponse>;
}

const program = path.resolve(import.meta.dirname, "lambda-function.ts");

/**
 * @param endpoint of the way by which it reaches the broker
 * @param onFrozen called each time that it stands still
 */
export async function startFrozenFunction(
  { region, credentials }: SqsBroker,
  endpoint: string,
  onFrozen: () => void,
): Promise<FrozenFunction> {
  const child = fork(program, [endpoint, region, credentials.accessKeyId, credentials.secretAccessKey]);
  const exited = once(child, "exit");
  const message = async (): Promise<unknown> => {
    const died = exited.then(() => Promise.reject(new Error("The function has ended.")));
    const [given] = (await Promise.race([once(child, "message"), died])) as unknown[];
    child.kill("SIGSTOP");
    onFrozen();
    return given;
  };
  await message();
  return {
    async handler(event, context) {
      const answer = message();
      child.kill("SIGCONT");
      child.send({ event, remainingMs: context?.getRemainingTimeInMillis() });
      return (await answer) as SqsBatchResponse;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
