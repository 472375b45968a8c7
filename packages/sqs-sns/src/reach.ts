/**
 * Whether SQS can be reached. No connection of HTTP is "the" connection: what becomes of the requests tells.
 *
 * A request to SQS without an answer begins an **outage**. Where that is less sure, as when a caller lost patience, or SNS gave no
 * answer, SQS is asked first. An outage ends when SQS answers again, whatever it says, unless it is that the credentials are no good.
 */
import type { Backoff, TransportEnvironment } from "@posthorn/core/transport";
import { abortable, backoffDelay, sleep } from "@posthorn/core/transport";
import type { Aws } from "./aws.ts";
import { RequestFailure } from "./aws.ts";
import { authenticationFailed, classOf, closedError, connectionFailed, isAnswered } from "./errors.ts";
import type { Settings } from "./options.ts";

export interface Reach {
  readonly connected: boolean;
  readonly closed: boolean;
  /** Fires when SQS cannot be reached any more, or it is closed. A new one when it can be reached again. */
  readonly outage: AbortSignal;
  /** @throws AUTHENTICATION_FAILED at once; CONNECTION_FAILED when the signal fires first; CLOSED */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves while SQS can be reached. @throws CLOSED; ABORTED, or the signal's reason */
  ready(signal: AbortSignal): Promise<void>;
  /** The given one, whose failures are noticed. */
  readonly aws: Aws;
  /** For good, `aws` with it. */
  close(): void;
}

export interface ReachOptions {
  readonly aws: Aws;
  readonly settings: Pick<Settings, "region" | "endpoint" | "prefix">;
  readonly environment: TransportEnvironment;
  readonly onConnected: () => void;
  /** Once for an outage. */
  readonly onDisconnected: (error: Error) => void;
  /** Once for an outage: the credentials that were good are refused. It goes on trying. */
  readonly onRefused: (error: unknown) => void;
}

const backoff: Backoff = { initialMs: 100, maxMs: 3_000 };
/** An outage that begins sooner after the last one is not probed at once: some requests fail each time that others succeed. */
const steadyMs = 10_000;

export function createReach(options: ReachOptions): Reach {
  const { settings, environment } = options;
  const { clock } = environment;
  const closing = new AbortController();
  let up = newUp();
  let outage = new AbortController();
  outage.abort(new Error("SQS was not reached yet."));
  /** How many outages came close together. */
  let unsteady = 0;
  let connectedAt = 0;
  /** Answers so far. */
  let answers = 0;
  let checking = false;

  /**
   * Asks for what there is not: it needs no permission, as a refusal is an answer, too.
   *
   * @throws RequestFailure without an answer, or with one that refuses the credentials; the signal's reason
   */
  async function probe(signal: AbortSignal): Promise<void> {
    try {
      await abortable(options.aws.sqs.queueUrl(`${settings.prefix}__probe`, signal), signal);
    } catch (error) {
      if (!(error instanceof RequestFailure) || !isAnswered(error) || isRefusal(error)) throw error;
    }
    answers++;
  }

  function setConnected(): void {
    connectedAt = clock.monotonic();
    outage = new AbortController();
    up.resolve();
    options.onConnected();
  }

  function setDisconnected(reason: Error): void {
    unsteady = clock.monotonic() - connectedAt < steadyMs ? unsteady + 1 : 0;
    up = newUp();
    outage.abort(reason);
    options.onDisconnected(reason);
    void reconnect(isRefusal(reason) ? reason : undefined);
  }

  /** @param refusal that began the outage */
  async function reconnect(refusal: RequestFailure | undefined): Promise<void> {
    if (refusal !== undefined) options.onRefused(authenticationFailed(refusal));
    let told = refusal !== undefined;
    for (let failures = unsteady; ; failures++) {
      try {
        if (failures > 0) await pause(failures, closing.signal);
        await probe(closing.signal);
        if (!closing.signal.aborted) setConnected();
        return;
      } catch (error) {
        if (closing.signal.aborted) return;
        // All else is the outage, which was told.
        if (!isRefusal(error) || told) continue;
        told = true;
        options.onRefused(authenticationFailed(error));
      }
    }
  }

  function pause(failures: number, signal: AbortSignal): Promise<void> {
    return sleep(clock, backoffDelay(backoff, failures, environment.random()), signal);
  }

  /** Begins an outage if SQS does not answer now. */
  async function check(): Promise<void> {
    if (checking) return;
    checking = true;
    const { signal } = outage;
    try {
      await probe(closing.signal);
    } catch (error) {
      // It may have begun meanwhile, and may be over.
      if (!signal.aborted && error instanceof Error) setDisconnected(error);
    } finally {
      checking = false;
    }
  }

  /** @param mayWait whether giving it up says nothing, as of a poll */
  async function watch<Answer>(service: "sqs" | "sns", request: Promise<Answer>, mayWait = false): Promise<Answer> {
    const answersBefore = answers;
    const { signal } = outage;
    try {
      const answer = await request;
      answers++;
      return answer;
    } catch (error) {
      // What fails belatedly belongs to an outage that is known.
      if (!signal.aborted) notice(error, service, mayWait, answersBefore);
      throw error;
    }
  }

  function notice(error: unknown, service: "sqs" | "sns", mayWait: boolean, answersBefore: number): void {
    if (!(error instanceof RequestFailure)) {
      if (!mayWait && answers === answersBefore) void check();
    } else if (isAnswered(error)) {
      answers++;
      if (isRefusal(error)) void check();
    } else if (service === "sqs") {
      setDisconnected(error);
    } else {
      void check();
    }
  }

  return {
    get connected() {
      return !outage.signal.aborted;
    },
    get closed() {
      return closing.signal.aborted;
    },
    get outage() {
      return outage.signal;
    },

    async start(signal) {
      const either = AbortSignal.any([signal, closing.signal]);
      let last: unknown;
      for (let failures = 1; ; failures++) {
        try {
          await probe(either);
          break;
        } catch (error) {
          if (!either.aborted && isRefusal(error)) throw authenticationFailed(error);
          if (!either.aborted) {
            last = error;
            await pause(failures, either).catch(() => undefined);
          }
          if (closing.signal.aborted) throw closedError();
          if (signal.aborted) throw connectionFailed(settings.endpoint ?? settings.region, last ?? signal.reason);
        }
      }
      if (closing.signal.aborted) throw closedError();
      setConnected();
    },

    async ready(signal) {
      signal.throwIfAborted();
      if (closing.signal.aborted) throw closedError();
      if (outage.signal.aborted) await abortable(up.promise, signal);
    },

    aws: watched(options.aws, watch),

    close() {
      if (closing.signal.aborted) return;
      closing.abort(closedError());
      outage.abort(closedError());
      up.reject(closedError());
      options.aws.close();
    },
  };
}

type Watch = <Answer>(service: "sqs" | "sns", request: Promise<Answer>, mayWait?: boolean) => Promise<Answer>;

function watched(aws: Aws, watch: Watch): Aws {
  const { sqs, sns } = aws;
  return {
    sqs: {
      queueUrl: (...given) => watch("sqs", sqs.queueUrl(...given)),
      createQueue: (...given) => watch("sqs", sqs.createQueue(...given)),
      queueAttributes: (...given) => watch("sqs", sqs.queueAttributes(...given)),
      setQueueAttributes: (...given) => watch("sqs", sqs.setQueueAttributes(...given)),
      send: (...given) => watch("sqs", sqs.send(...given)),
      receive: (...given) => watch("sqs", sqs.receive(...given), true),
      delete: (...given) => watch("sqs", sqs.delete(...given)),
      changeVisibility: (...given) => watch("sqs", sqs.changeVisibility(...given)),
    },
    sns: {
      createTopic: (...given) => watch("sns", sns.createTopic(...given)),
      topicArn: (...given) => watch("sns", sns.topicArn(...given)),
      topicAttributes: (...given) => watch("sns", sns.topicAttributes(...given)),
      publish: (...given) => watch("sns", sns.publish(...given)),
      subscribe: (...given) => watch("sns", sns.subscribe(...given)),
      subscriptions: (...given) => watch("sns", sns.subscriptions(...given)),
      subscriptionAttributes: (...given) => watch("sns", sns.subscriptionAttributes(...given)),
      setSubscriptionAttribute: (...given) => watch("sns", sns.setSubscriptionAttribute(...given)),
    },
    close: () => aws.close(),
  };
}

function isRefusal(error: unknown): error is RequestFailure {
  return (
    error instanceof RequestFailure && isAnswered(error) && classOf(error.code, error.httpStatus) === "authentication"
  );
}

/** Nobody may be waiting for it. */
function newUp(): PromiseWithResolvers<void> {
  const up = Promise.withResolvers<void>();
  up.promise.catch(() => undefined);
  return up;
}
