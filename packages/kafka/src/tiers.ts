/**
 * Delays. Kafka has none: a record is there as soon as it was appended. So what a member reads before its time it **shelves**: it moves it to the
 * group's delay topic, whose partition `k`, a **tier**, holds records for `4^k` seconds. As all of a tier wait equally long, the
 * first one is always the first that may go on, and a long delay holds up no short one. Whoever holds a tier moves what has waited
 * on: to a lower tier, and at last back to the group's inlet, shortly before its time; there it waits the rest in the memory of whoever
 * reads it. A move is durable before the original is given up: a crash between the two makes a duplicate, never a loss.
 *
 * A delay of `d` seconds takes at most three moves for each power of four below `d`; there is no longest delay.
 */
export const tierCount = 10;
const shortestTierMs = 1_000;

/** What is due within this is not moved any more, and waits in the memory of the member that has read it. */
export const holdMs = 2_000;
/** A move, to be there before its time. */
const moveMs = 500;

/** How long a tier holds a record, in milliseconds. */
export function tierMs(tier: number): number {
  return shortestTierMs * 4 ** tier;
}

/** The tier for what is due in more than {@link holdMs}: the longest that ends before. */
export function tierFor(dueInMs: number): number {
  let tier = 0;
  while (tier < tierCount - 1 && tierMs(tier + 1) <= dueInMs - moveMs) tier++;
  return tier;
}
