import type { DeadLetter, Subscription } from "@posthorn/core";
import type { Ledger } from "./ledger.ts";

/** One group of the demo, and what it had to handle. */
export interface Group {
  readonly name: string;
  readonly expected: ReadonlySet<string>;
  readonly subscription: Subscription;
}

/** Which failing messages are expected: told by the payloads themselves, before anything is sent. */
export interface Summary {
  readonly lines: readonly string[];
  readonly problems: readonly string[];
}

/** Compares what the services did with what was sent, and with what really lies in the dead-letter channels. */
export async function summarise(ledger: Ledger, groups: readonly Group[]): Promise<Summary> {
  const lines: string[] = [`published ${ledger.published.size} webhooks, sent ${ledger.commands.size} commands`];
  const problems: string[] = [];
  for (const { name, expected, subscription } of groups) {
    const { handled, dead, failedOnce } = ledger.account(subscription.group);
    const letters = await deadLettersOf(subscription, expected);
    const lost = [...expected].filter((id) => !handled.has(id) && !letters.has(id));
    const both = [...letters.keys()].filter((id) => handled.has(id));
    const retried = [...failedOnce].filter((id) => handled.has(id)).length;
    lines.push(
      `${name.padEnd(14)} ${expected.size} in = ${handled.size} handled (${retried} after a retry) + ${letters.size} dead`,
    );
    for (const [reason, count] of byReason(letters)) lines.push(`${"".padEnd(16)}${count} × ${reason}`);
    if (lost.length > 0) problems.push(`${name} lost ${lost.length}: ${lost.slice(0, 3).join(", ")}`);
    if (both.length > 0) problems.push(`${name} handled ${both.length} that are dead as well`);
    if (handled.size + letters.size !== expected.size)
      problems.push(`${name}: ${handled.size} + ${letters.size} is not ${expected.size}`);
    if (letters.size !== dead.size)
      problems.push(`${name} gave up ${dead.size}, and ${letters.size} lie in its dead-letter channel`);
  }
  return { lines, problems };
}

async function deadLettersOf(
  subscription: Subscription,
  expected: ReadonlySet<string>,
): Promise<Map<string, DeadLetter>> {
  const letters = await subscription.deadLetters.browse({ limit: 10_000 });
  return new Map(
    letters.filter((letter) => expected.has(letter.message.id)).map((letter) => [letter.message.id, letter]),
  );
}

function byReason(letters: ReadonlyMap<string, DeadLetter>): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const letter of letters.values()) {
    const line = `${letter.reason}: ${letter.errorMessage}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].toSorted(([left], [right]) => left.localeCompare(right));
}
