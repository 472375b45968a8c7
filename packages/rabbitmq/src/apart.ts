import type { Outbound, Receipt } from "@posthorn/core/transport";

type SendPart = (outbound: readonly Outbound[]) => readonly Receipt[] | Promise<readonly Receipt[]>;

/** Sends the messages of one kind here and the others there, and puts the receipts in the order of the messages. */
export async function sendApart(
  outbound: readonly Outbound[],
  isThis: (outbound: Outbound) => boolean,
  sendThese: SendPart,
  sendThose: SendPart,
): Promise<readonly Receipt[]> {
  // Asked once: time goes on, and may change the answer.
  const sides = outbound.map(isThis);
  const receipts: Receipt[] = [];
  const send = async (side: boolean, sendPart: SendPart): Promise<void> => {
    const part = outbound.filter((_, index) => sides[index] === side);
    const received = part.length === 0 ? [] : await sendPart(part);
    const indexes = sides.flatMap((of, index) => (of === side ? [index] : []));
    received.forEach((receipt, position) => (receipts[indexes[position] ?? 0] = receipt));
  };
  await Promise.all([send(true, sendThese), send(false, sendThose)]);
  return receipts;
}
