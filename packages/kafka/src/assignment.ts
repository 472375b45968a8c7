/**
 * Who of a group reads what.
 *
 * What is shared out are **slots**: slot `i` of the kind `messages` is partition `i` of the channel and partition `i` of the group's inlet, so
 * that a key, which has the same number in both, is with one member; slot `i` of the kind `delays` is one tier of the group's delays.
 *
 * A slot changes hands without anybody handling its messages twice (KIP-429, "incremental cooperative rebalancing"): a member says which
 * slots it holds; the leader gives nobody what another one holds and should give up, and its holder, seeing that it was not given
 * it again, takes nothing more from it, lets its handlers finish, commits, and joins anew without it.
 *
 * This is not Kafka's own cooperative assignor but one of the same idea, under a name of its own: members of one group are all Posthorn's.
 */
import { shareOut } from "@posthorn/core/transport";

export type SlotKind = "messages" | "delays";

export interface Slot {
  readonly kind: SlotKind;
  readonly number: number;
}

/** `messages:3` */
export function slotId({ kind, number }: Slot): string {
  return `${kind}:${number}`;
}

/** What a member tells when it joins. */
export interface Claim {
  /** What it holds, also what it is about to give up. */
  readonly held: readonly Slot[];
  /** Of its last membership: what it holds was given to it then. -1 when it holds nothing. */
  readonly generation: number;
  /** It wants nothing more, and holds only what it must finish. */
  readonly leaving: boolean;
}

export interface Claimant {
  readonly id: string;
  readonly claim: Claim;
}

/** How many slots of each kind there are. */
export type SlotCounts = Readonly<Record<SlotKind, number>>;

const kinds: readonly SlotKind[] = ["messages", "delays"];

/**
 * Shares the slots out evenly, each kind by itself, and moves as few as possible.
 *
 * @returns for each member what it has from now on; what it holds and does not have it must give up
 */
export function assignSlots(members: readonly Claimant[], counts: SlotCounts): ReadonlyMap<string, readonly Slot[]> {
  const given = new Map<string, Slot[]>(members.map(({ id }) => [id, []]));
  // All members must come to the same result, whoever leads.
  const ordered = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const willing = ordered.filter(({ claim }) => !claim.leaving).map(({ id }) => id);
  const holders = holdersOf(ordered);
  for (const kind of kinds) {
    const slots = Array.from({ length: counts[kind] }, (_, number): Slot => ({ kind, number }));
    const present = slots.map((slot) => holders.get(slotId(slot)));
    shareOut(present, willing).forEach((owner, index) => {
      const slot = slots[index];
      const holder = present[index];
      if (slot === undefined || owner === undefined) return;
      if (holder === undefined || holder === owner) given.get(owner)?.push(slot);
    });
  }
  return given;
}

/** Of two who claim the same, the one whose claim is younger holds it: the other was given up for lost and does not know yet. */
function holdersOf(members: readonly Claimant[]): ReadonlyMap<string, string> {
  const holders = new Map<string, { readonly id: string; readonly generation: number }>();
  for (const { id, claim } of members) {
    for (const slot of claim.held) {
      const other = holders.get(slotId(slot));
      if (other === undefined || other.generation < claim.generation)
        holders.set(slotId(slot), { id, generation: claim.generation });
    }
  }
  return new Map(Array.from(holders, ([slot, { id }]) => [slot, id]));
}

/** As it travels in the group's protocol. */
export function encodeClaim({ held, generation, leaving }: Claim): string {
  return JSON.stringify({ v: 1, generation, leaving, ...encodeSlots(held) });
}

/** @returns a claim to nothing where it cannot be read */
export function decodeClaim(text: string): Claim {
  const value = parse(text);
  const generation = value["generation"];
  return {
    held: decodeSlots(value),
    generation: typeof generation === "number" ? generation : -1,
    leaving: value["leaving"] === true,
  };
}

function encodeSlots(slots: readonly Slot[]): Record<SlotKind, number[]> {
  const numbers = (kind: SlotKind): number[] => slots.filter((slot) => slot.kind === kind).map(({ number }) => number);
  return { messages: numbers("messages"), delays: numbers("delays") };
}

function decodeSlots(value: Readonly<Record<string, unknown>>): Slot[] {
  return kinds.flatMap((kind) => {
    const numbers: unknown = value[kind];
    if (!Array.isArray(numbers)) return [];
    return numbers
      .filter((number) => Number.isInteger(number) && number >= 0)
      .map((number: number) => ({ kind, number }));
  });
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
