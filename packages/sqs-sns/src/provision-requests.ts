/** What provisioning asks of AWS, and what it makes of a refusal. */
import type { Asking } from "./asking.ts";
import { isMissing, isRefusedAccess } from "./asking.ts";
import type { Aws } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { awsError } from "./errors.ts";

type Request<Answer> = (aws: Aws) => Promise<Answer>;

/**
 * Each asks until there is an answer. `what` is what errors call it.
 *
 * @throws RequestFailure when something does not exist, which may be because it is new; PosthornError
 */
export interface ProvisionRequests {
  readonly signal: AbortSignal;
  readonly ask: <Answer>(what: string, request: Request<Answer>) => Promise<Answer>;
  /** @returns `undefined` where the account may not see it */
  readonly ifVisible: <Answer>(what: string, request: Request<Answer>) => Promise<Answer | undefined>;
  /** @returns `undefined` where it exists otherwise */
  readonly create: (what: string, request: Request<string>) => Promise<string | undefined>;
  /** What belongs together is done again when a part of it has vanished, or does not show yet. */
  readonly untilThere: <Result>(attempt: () => Promise<Result>) => Promise<Result>;
  readonly pause: (failures: number) => Promise<void>;
}

/** What a moment ago was said to exist. */
export const notYetFound: RequestFailure = new RequestFailure("It is not found yet.", {
  sent: true,
  code: "NotFound",
  httpStatus: 404,
});

export function createProvisionRequests(asking: Asking, signal: AbortSignal): ProvisionRequests {
  async function unless<Answer>(
    mayBe: (refusal: RequestFailure) => boolean,
    what: string,
    request: Request<Answer>,
  ): Promise<Answer | undefined> {
    try {
      return await asking.untilAnswered(request, signal);
    } catch (error) {
      if (!(error instanceof RequestFailure) || isMissing(error)) throw error;
      if (mayBe(error)) return undefined;
      if (isDeadLetterTargetNew(error)) throw notYetFound;
      throw awsError(error, what);
    }
  }

  return {
    signal,
    ask: <Answer>(what: string, request: Request<Answer>) => unless(() => false, what, request) as Promise<Answer>,
    ifVisible: (what, request) => unless(isRefusedAccess, what, request),
    create: (what, request) => unless(existsOtherwise, what, request),
    async untilThere(attempt) {
      for (let failures = 1; ; failures++) {
        try {
          return await attempt();
        } catch (error) {
          if (!isMissing(error)) throw error;
        }
        await asking.pause(failures, signal);
      }
    },
    pause: (failures) => asking.pause(failures, signal),
  };
}

/** SNS says it in the text alone. */
function existsOtherwise({ code, message }: RequestFailure): boolean {
  return /(?:QueueNameExists|QueueAlreadyExists)(?:Exception)?$/.test(code ?? "") || /already exists/i.test(message);
}

/** Whoever makes a queue is told in the text alone that its dead-letter queue is not known everywhere yet. */
function isDeadLetterTargetNew({ message }: RequestFailure): boolean {
  return /dead letter target does not exist/i.test(message);
}
