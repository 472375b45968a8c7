/** What can be done about dead letters: types only. */
import type { ChannelInfo } from "./address.ts";
import type { WaitOptions } from "./bus.ts";
import type { DeadLetter, DeadLetterReason } from "./dead-letter.ts";
import type { Depth } from "./transport.ts";

/**
 * The dead letters of one group of a channel. Looking at them leaves them where they are, however often; while a call goes through
 * them, others may not see them.
 */
export interface DeadLetterChannel {
  readonly channel: ChannelInfo;
  readonly group: string;

  depth(options?: WaitOptions): Promise<Depth>;

  /** The oldest that match. `limit` defaults to 100. */
  browse(options?: DeadLetterFilter & WaitOptions & { readonly limit?: number }): Promise<readonly DeadLetter[]>;

  /** The one whose message has this id; `undefined` when there is none. */
  find(id: string, options?: WaitOptions): Promise<DeadLetter | undefined>;

  /** How many there are for each reason and error, the most frequent first. */
  summarize(options?: DeadLetterFilter & WaitOptions): Promise<readonly DeadLetterSummary[]>;

  /**
   * Sends dead letters back to their group's inlet, and to no other group: with the same id, attempts counted afresh, and their
   * redrive count one higher. A dead letter is removed once the broker has accepted the message.
   *
   * Can be run again at any time: what is done is done, and a run that was cut off leaves at most duplicates, with the same id,
   * of what it had under way. What dies again during the run is left to the next.
   *
   * @throws as `bus.send`; what was not redriven is still there
   */
  redrive(options?: RedriveOptions): Promise<RedriveReport>;

  /**
   * Removes those that match (all of them without a filter), for good.
   *
   * @returns how many those were
   */
  purge(options?: DeadLetterFilter & WaitOptions): Promise<number>;

  /** Those that match, oldest first, as NDJSON: one line of JSON each, its newline included. Bounded memory, whatever their number. */
  export(options?: DeadLetterFilter & { readonly signal?: AbortSignal }): AsyncIterable<string>;
}

/** Which dead letters are meant: those that satisfy all that is given. */
export interface DeadLetterFilter {
  /** Ids of messages. */
  readonly ids?: readonly string[];
  readonly reason?: DeadLetterReason;
  readonly errorName?: string;
  /** The message's type. */
  readonly type?: string;
  /** Those that failed last before this time. */
  readonly failedBefore?: Date;
  /** Anything else. */
  readonly where?: (deadLetter: DeadLetter) => boolean;
}

export interface RedriveOptions extends DeadLetterFilter {
  /** At most so many. Default: no limit. */
  readonly limit?: number;
  /** At most so many messages a second. Default: as fast as the broker takes them. */
  readonly messagesPerSecond?: number;
  /** Only counts what would be done. Default false. */
  readonly dryRun?: boolean;
  /** A dead letter that was redriven so often is left where it is. Default 10. */
  readonly maxRedrives?: number;
  readonly signal?: AbortSignal;
}

export interface RedriveReport {
  /** Sent back; with `dryRun`, to be sent back. */
  readonly redriven: number;
  /** Left because the filter does not want them. */
  readonly unmatched: number;
  /** Left because they were redriven `maxRedrives` times already. */
  readonly guarded: number;
}

export interface DeadLetterSummary {
  readonly reason: DeadLetterReason;
  readonly errorName: string;
  /** Of the newest. */
  readonly errorMessage: string;
  readonly count: number;
  readonly firstFailedAt: Date | undefined;
  readonly lastFailedAt: Date | undefined;
}
