/**
 * Where an emulator of SQS and SNS breaks a rule of AWS so that cases of the contract show it. Nothing else is excused.
 *
 * An excused case is run like any other, and has to fail: what an emulator learns is taken off the list. One that a race decides may fail
 * twice, and then has to pass.
 *
 * For these no case needs an excuse, since something goes around them:
 *
 * - A kill empties LocalStack, which keeps its state in memory. AWS stores messages on several servers
 *   (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/welcome.html). `sqs-harness.ts` cuts it off instead.
 *   ministack saves before it is killed (`sqs-emulator.py`).
 * - LocalStack lets what is given back overtake others of its message group (below). The harness's own giving back keeps those of a group
 *   in one request (`sqs-received.ts`).
 * - ministack goes on with a poll that its client has given up, for as long as 20 seconds, and takes messages for nobody: so do LocalStack
 *   and AWS (https://github.com/aws/aws-sdk-js/issues/2350). `sqs-emulator.py` ends it.
 */
import { AssertionError } from "node:assert";
import type { Runner } from "@posthorn/contract-tests";

export interface Excuse {
  /** How the emulator names itself, without its version. */
  readonly emulator: "localstack" | "ministack";
  /** The ids of the cases that fail for this. */
  readonly cases: readonly string[];
  readonly fails: "always" | "sometimes";
  /** What it does, as `it …`. */
  readonly does: string;
  /** What AWS does. */
  readonly rule: string;
  /** Where AWS says so. */
  readonly documentation: string;
}

export const excuses: readonly Excuse[] = [
  {
    emulator: "localstack",
    cases: ["I2w"],
    fails: "sometimes",
    does: "delivers what is given back although others of its message group are in flight, so that it overtakes them",
    rule: "nothing more of a message group is delivered until what is in flight is deleted or visible again",
    documentation:
      "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html",
  },
];

/** How often a case is run that fails sometimes. */
const mostRuns = 3;

/** Declares cases as `runner` does, but for the excused ones of this emulator. @param emulator with its version */
export function excusing(emulator: string, runner: Runner, list: readonly Excuse[] = excuses): Runner {
  const declareBy =
    (declare: Runner["test"]): Runner["test"] =>
    (name, body, timeoutMs) => {
      const [id = ""] = name.split(" ", 1);
      const excuse = list.find((each) => emulator.startsWith(each.emulator) && each.cases.includes(id));
      if (excuse === undefined) declare(name, body, timeoutMs);
      else if (excuse.fails === "always")
        declare(`${name} (fails on ${titleOf(emulator, excuse)})`, () => failing(body, excuse), timeoutMs);
      else declare(`${name} (may fail on ${titleOf(emulator, excuse)})`, () => passingOnce(body), mostRuns * timeoutMs);
    };
  const { test, concurrentTest = test } = runner;
  return { ...runner, test: declareBy(test), concurrentTest: declareBy(concurrentTest) };
}

function titleOf(emulator: string, { does, rule, documentation }: Excuse): string {
  return `${emulator}: it ${does}; AWS: ${rule}, ${documentation}`;
}

async function failing(body: () => Promise<void>, { emulator, does }: Excuse): Promise<void> {
  try {
    await body();
  } catch (error) {
    // Anything else is a defect of the suite, the harness or the adapter.
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new AssertionError({ message: `It passes. Take it off the list of what fails because ${emulator} ${does}.` });
}

async function passingOnce(body: () => Promise<void>): Promise<void> {
  for (let runs = 1; ; runs++) {
    try {
      await body();
      return;
    } catch (error) {
      if (runs === mostRuns || !(error instanceof AssertionError)) throw error;
    }
  }
}
