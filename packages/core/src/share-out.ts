/**
 * Shares things out among members, as partitions in a consumer group: evenly, and moving as few as possible.
 *
 * @param owners who has each now; somebody who is no member has none
 * @returns who is to have each; `undefined` only where there are no members
 */
export function shareOut<Owner>(
  owners: readonly (Owner | undefined)[],
  members: readonly Owner[],
): readonly (Owner | undefined)[] {
  if (members.length === 0) return owners.map(() => undefined);
  const least = Math.floor(owners.length / members.length);
  let larger = owners.length % members.length;
  const left = new Map<Owner, number>(members.map((member) => [member, least]));
  /** Counts one more for the member, if it may have one. */
  const claim = (member: Owner): boolean => {
    const room = left.get(member);
    if (room === undefined || room < 0 || (room === 0 && larger === 0)) return false;
    if (room === 0) larger--;
    left.set(member, room - 1);
    return true;
  };
  const next = owners.map((owner) => (owner !== undefined && claim(owner) ? owner : undefined));
  return next.map((owner) => owner ?? members.find(claim));
}
