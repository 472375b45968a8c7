/**
 * What happened in a run, as plain data, and what of it must not have happened. For runs whose faults and failures are random:
 * nobody can say beforehand what they do, only what they must never show.
 */

/** All times are milliseconds since the Unix epoch. */
export interface History {
  /** The groups that get every message. */
  readonly groups: readonly string[];
  /** Messages of one key are handled in the order of their `seq`. */
  readonly ordered: boolean;
  /** What the transport's settlement capability says. */
  readonly settlement: "message" | "prefix";
  /** The retry policy's attempts. */
  readonly maxAttempts: number;
  readonly publishes: readonly Publish[];
  readonly handlings: readonly Handling[];
  readonly deaths: readonly Death[];
  readonly faults: readonly Fault[];
}

export interface Publish {
  readonly id: string;
  readonly key: string | undefined;
  /** Its place among the messages of its key, in the order of the calls. */
  readonly seq: number;
  readonly body: string;
  readonly notBefore: number | undefined;
  readonly invokedAt: number;
  readonly endedAt: number;
  /** `failed`: it was said for sure that it was not sent. */
  readonly outcome: "acked" | "failed" | "unknown";
}

export interface Handling {
  readonly id: string;
  readonly group: string;
  readonly instance: string;
  readonly attempt: number;
  readonly body: string;
  readonly startedAt: number;
  readonly endedAt: number;
  /** `void`: the instance was told to stop, or never got to the end; its settlement does not count. */
  readonly outcome: "handled" | "failed" | "void";
}

/** Found among the dead letters of a group at the end. */
export interface Death {
  readonly id: string;
  readonly group: string;
  readonly attempts: number;
  readonly body: string;
}

/** A time in which something was broken, until it was whole again. */
export interface Fault {
  readonly what: string;
  readonly from: number;
  readonly to: number;
  /** The one instance that it hurt, where it was one. */
  readonly instance?: string;
}

export type Rule = "lost" | "surfaced" | "phantom" | "order" | "attempts" | "body" | "duplicate" | "early";

export interface Violation {
  readonly rule: Rule;
  readonly id: string;
  readonly what: string;
}

/** A settlement may take so long to reach the broker: a fault so soon after a handling may have undone it. */
const settlingMs = 1_500;

/** Everything that must not have happened, in no particular order. */
export function violationsOf(history: History): readonly Violation[] {
  const publishes = new Map(history.publishes.map((publish) => [publish.id, publish]));
  const found: Violation[] = [];
  const tell = (rule: Rule, id: string, what: string): void => void found.push({ rule, id, what });

  for (const event of [...history.handlings, ...history.deaths]) {
    const publish = publishes.get(event.id);
    const where = `in the group ${event.group}`;
    if (publish === undefined || !history.groups.includes(event.group))
      tell("phantom", event.id, `it came from nowhere ${where}`);
    else if (publish.outcome === "failed") tell("surfaced", event.id, `it was said not to be sent, and came ${where}`);
    if (publish !== undefined && publish.body !== event.body) tell("body", event.id, `its body changed ${where}`);
    const attempts = "attempt" in event ? event.attempt : event.attempts;
    if (attempts > history.maxAttempts)
      tell("attempts", event.id, `attempt ${attempts} of at most ${history.maxAttempts} ${where}`);
    if ("startedAt" in event && publish?.notBefore !== undefined && event.startedAt < publish.notBefore)
      tell("early", event.id, `${publish.notBefore - event.startedAt} ms early ${where}`);
  }
  for (const group of history.groups) {
    const lives = livesOf(history, group);
    for (const publish of history.publishes) {
      const life = lives.get(publish.id) ?? { handlings: [], deaths: [] };
      const endings = life.handlings.filter(({ outcome }) => outcome === "handled").length + life.deaths.length;
      if (publish.outcome === "acked" && endings === 0)
        tell("lost", publish.id, `it was accepted, and is neither handled nor dead in the group ${group}`);
      if (endings > 1 && !isExplained(history, publish, life))
        tell("duplicate", publish.id, `it ended ${endings} times in the group ${group} without a cause`);
      const failures = life.handlings.filter(({ outcome }) => outcome === "failed").length;
      if (failures > history.maxAttempts && !isExplained(history, publish, life))
        tell("attempts", publish.id, `it failed ${failures} times in the group ${group} without a cause`);
    }
    if (history.ordered) for (const violation of disorders(history, group, lives)) found.push(violation);
  }
  return found;
}

/** What one group did with one message. */
interface Life {
  readonly handlings: Handling[];
  readonly deaths: Death[];
}

function livesOf(history: History, group: string): Map<string, Life> {
  const lives = new Map<string, Life>();
  const lifeOf = (id: string): Life => {
    const life = lives.get(id) ?? { handlings: [], deaths: [] };
    lives.set(id, life);
    return life;
  };
  for (const handling of history.handlings) if (handling.group === group) lifeOf(handling.id).handlings.push(handling);
  for (const death of history.deaths) if (death.group === group) lifeOf(death.id).deaths.push(death);
  return lives;
}

/**
 * Whether a second copy of the message, or a second delivery, has a cause: its publisher did not learn the outcome, or a fault fell into
 * the publishing, into a handling or what followed on it, or into a time in which it waited on the broker for its time or its next
 * attempt. Where only a prefix is settled any later fault brings things back.
 */
function isExplained({ faults, settlement }: History, publish: Publish, { handlings }: Life): boolean {
  if (publish.outcome === "unknown") return true;
  const lastStart = Math.max(...handlings.map(({ startedAt }) => startedAt));
  const waits =
    publish.notBefore !== undefined ||
    handlings.some(({ startedAt, outcome }) => outcome !== "handled" && startedAt < lastStart);
  const during = (fault: Fault, from: number, to: number): boolean => fault.from <= to && fault.to >= from;
  return faults.some((fault) => {
    const hurtsAll = fault.instance === undefined;
    if (hurtsAll && during(fault, publish.invokedAt, publish.endedAt + settlingMs)) return true;
    if (waits && during(fault, publish.invokedAt, lastStart)) return true;
    return handlings.some(({ instance, startedAt, endedAt }) => {
      const to = settlement === "prefix" ? Math.max(lastStart, endedAt) : endedAt + settlingMs;
      return (hurtsAll || fault.instance === instance) && during(fault, startedAt, to);
    });
  });
}

/** First handlings of a key that were out of order. What was delayed, died, or has no certain outcome has no place in it. */
function disorders(history: History, group: string, lives: ReadonlyMap<string, Life>): readonly Violation[] {
  const found: Violation[] = [];
  const byKey = Map.groupBy(
    history.publishes.filter(
      ({ id, key, outcome, notBefore }) =>
        key !== undefined &&
        outcome === "acked" &&
        notBefore === undefined &&
        (lives.get(id)?.deaths.length ?? 0) === 0,
    ),
    ({ key }) => key,
  );
  for (const [key, publishes] of byKey) {
    let latest: { readonly publish: Publish; readonly endedAt: number } | undefined;
    for (const publish of publishes.toSorted((one, other) => one.seq - other.seq)) {
      const ends = (lives.get(publish.id)?.handlings ?? [])
        .filter(({ outcome }) => outcome === "handled")
        .map(({ endedAt }) => endedAt);
      if (ends.length === 0) continue;
      const endedAt = Math.min(...ends);
      if (latest !== undefined && endedAt < latest.endedAt)
        found.push({
          rule: "order",
          id: publish.id,
          what: `${key}/${publish.seq} was handled ${latest.endedAt - endedAt} ms before ${key}/${latest.publish.seq} in the group ${group}`,
        });
      if (latest === undefined || endedAt > latest.endedAt) latest = { publish, endedAt };
    }
  }
  return found;
}

/** How many violations, and how many events round each, an excerpt shows. */
const shownViolations = 5;
const shownEvents = 30;

/** The first violations, each with all that happened to its message (and, of its key, what was handled) while it lived. */
export function excerptOf(history: History, violations: readonly Violation[]): string {
  const start = Math.min(...history.publishes.map(({ invokedAt }) => invokedAt));
  const at = (time: number): string => `${String(time - start).padStart(6)} ms`;
  const all = history.publishes;
  const parts = violations.slice(0, shownViolations).map(({ rule, id, what }) => {
    const key = all.find((publish) => publish.id === id)?.key;
    const kin = new Map(
      all
        .filter((publish) => publish.id === id || (rule === "order" && publish.key === key))
        .map((publish) => [publish.id, publish]),
    );
    const name = (one: string): string => {
      const publish = kin.get(one);
      return publish?.key === undefined ? one : `${publish.key}/${publish.seq}`;
    };
    const events = [
      ...[...kin.values()].map(({ id: one, invokedAt, endedAt, outcome, notBefore }) => ({
        time: invokedAt,
        text: `publish ${name(one)}, ${outcome} after ${endedAt - invokedAt} ms${notBefore === undefined ? "" : `, due at ${at(notBefore)}`}`,
      })),
      ...history.handlings
        .filter((handling) => kin.has(handling.id) || handling.id === id)
        .map((handling) => ({
          time: handling.startedAt,
          text: `${handling.group} ${handling.instance} attempt ${handling.attempt} at ${name(handling.id)}: ${handling.outcome} after ${handling.endedAt - handling.startedAt} ms`,
        })),
      ...history.deaths
        .filter((death) => death.id === id)
        .map((death) => ({
          time: Number.POSITIVE_INFINITY,
          text: `dead in ${death.group} after ${death.attempts} attempts`,
        })),
      ...history.faults.map(({ what: fault, from, to }) => ({ time: from, text: `-- ${fault} until ${at(to)}` })),
    ].toSorted((one, other) => one.time - other.time);
    const last = events.findLastIndex(({ text }) => text.includes(name(id)));
    const shown = events.slice(Math.max(0, last + 4 - shownEvents), last + 4);
    return [`${rule}: ${what} (${id})`, ...shown.map(({ time, text }) => `  ${at(time)}  ${text}`)].join("\n");
  });
  return `${violations.length} violations\n${parts.join("\n")}`;
}
