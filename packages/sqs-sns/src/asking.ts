/** Requests that are made again as long as the same one may succeed later. */
import type { Backoff, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, abortedError, backoffDelay, sleep } from "@posthorn/core/transport";
import type { Aws } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { classOf, isAnswered } from "./errors.ts";
import type { Reach } from "./reach.ts";

export interface Asking {
  /**
   * Asks until there is an answer that is final, whatever happens to the connection meanwhile: for what can be done twice.
   *
   * @throws RequestFailure with a refusal that will stay one; ABORTED as soon as the signal fires; CLOSED
   */
  untilAnswered<Answer>(request: (aws: Aws) => Promise<Answer>, signal: AbortSignal): Promise<Answer>;
  /** The same, but what gets no answer is not asked again. @throws RequestFailure also without an answer */
  whileAnswered<Answer>(request: (aws: Aws) => Promise<Answer>, signal: AbortSignal): Promise<Answer>;
  /** Before the same is asked again. @param failures how many there were. @throws ABORTED */
  pause(failures: number, signal: AbortSignal): Promise<void>;
}

const backoff: Backoff = { initialMs: 100, maxMs: 2_000 };

export function createAsking(reach: Pick<Reach, "aws" | "ready">, environment: TransportEnvironment): Asking {
  const pause: Asking["pause"] = (failures, signal) =>
    abortable(sleep(environment.clock, backoffDelay(backoff, failures, environment.random()), signal), signal);

  const asking =
    (mayGoOn: (failure: RequestFailure) => boolean): Asking["untilAnswered"] =>
    async (request, signal) => {
      for (let failures = 1; ; failures++) {
        if (signal.aborted) throw abortedError(signal);
        await abortable(reach.ready(signal), signal);
        try {
          return await abortable(request(reach.aws), signal);
        } catch (error) {
          if (signal.aborted) throw abortedError(signal);
          if (!(error instanceof RequestFailure) || !mayGoOn(error)) throw error;
        }
        await pause(failures, signal);
      }
    };

  return {
    untilAnswered: asking((failure) => !isAnswered(failure) || isPassing(failure)),
    whileAnswered: asking((failure) => isAnswered(failure) && isPassing(failure)),
    pause,
  };
}

/** What others may do about it is done by then. So many messages in flight that there can be no more will not pass by themselves. */
function isPassing({ code, httpStatus }: RequestFailure): boolean {
  const kind = classOf(code, httpStatus);
  return (kind === "throttled" && !isOverLimit(code)) || kind === "passing";
}

function isOverLimit(code: string | undefined): boolean {
  return /OverLimit(?:Exception)?$/.test(code ?? "");
}

export function isMissing(error: unknown): error is RequestFailure {
  return error instanceof RequestFailure && classOf(error.code, error.httpStatus) === "missing";
}

export function isRefusedAccess(error: unknown): error is RequestFailure {
  return error instanceof RequestFailure && classOf(error.code, error.httpStatus) === "access";
}
