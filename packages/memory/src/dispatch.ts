import { accepted, failed, messageBytes } from "@posthorn/core/transport";
import type { Address, Outbound, PosthornError, Receipt } from "@posthorn/core/transport";
import type { Destination } from "./broker/catalog.ts";
import type { Answer, Posting, Session } from "./broker/session.ts";
import type { Connection } from "./connection.ts";
import { notSent, refusalError, tooLarge, unknownOutcome } from "./errors.ts";
import { destinationOf } from "./topology.ts";
import { toPacket } from "./wire.ts";

export type Dispatch = (batch: readonly Outbound[], signal: AbortSignal) => Promise<readonly Receipt[]>;

/** Batches after which timers and sockets get their turn, since an answer needs none. */
const burst = 256;

export function createDispatch(connection: Connection): Dispatch {
  const limit = connection.broker.settings.maxMessageBytes;
  let dispatched = 0;

  async function hand(postings: readonly Posting[], signal: AbortSignal): Promise<readonly Receipt[]> {
    const all = (error: PosthornError): readonly Receipt[] => postings.map(() => failed(error));
    if (signal.aborted) return all(notSent("its signal had fired"));
    let session = writableSession();
    while (session === undefined) {
      if (!(await connection.until(connection.writable, signal))) return all(notSent(whyNotWritable()));
      session = writableSession();
    }
    const answer = withMissingMade(session, postings);
    await (++dispatched % burst === 0 ? new Promise<void>((resolve) => setImmediate(resolve)) : undefined);
    if (answer === "silence" && session.open && !connection.closed) await connection.until(() => !session.open, signal);
    if (!session.open) return all(unknownOutcome("the connection was lost"));
    if (answer === "silence")
      return all(unknownOutcome(connection.closed ? "the transport was closed" : "its signal fired"));
    return answer.map((refusal) => (refusal === undefined ? accepted : failed(refusalError(refusal))));
  }

  const writableSession = (): Session | undefined => (connection.writable() ? connection.session : undefined);

  const whyNotWritable = (): string =>
    connection.closed
      ? "the transport was closed"
      : "the broker could not be reached, or blocked publishers, until its signal fired";

  /** What this transport applied and the broker has lost is made again, and what was sent there is sent once more. */
  function withMissingMade(session: Session, postings: readonly Posting[]): Answer {
    const answer = connection.publish(session, postings);
    if (answer === "silence") return answer;
    const lost = postings.filter(
      (posting, index) => answer[index]?.reason === "missing" && connection.applied.has(posting.destination),
    );
    if (lost.length === 0) return answer;
    connection.reapply();
    const second = connection.publish(session, lost);
    if (second === "silence") return second;
    const again = new Map(lost.map((posting, index) => [posting, second[index]]));
    return postings.map((posting, index) => (again.has(posting) ? again.get(posting) : answer[index]));
  }

  return async (batch, signal) => {
    const postings: Posting[] = [];
    const refused = new Map<number, Receipt>();
    let address: Address | undefined;
    let destination: Destination | undefined;
    batch.forEach((outbound, index) => {
      const size = messageBytes(outbound.message);
      if (size > limit) {
        refused.set(index, failed(tooLarge(size, limit)));
        return;
      }
      if (destination === undefined || outbound.address !== address) {
        address = outbound.address;
        destination = destinationOf(address);
      }
      postings.push({ destination, packet: toPacket(outbound.message, outbound.address) });
    });
    if (postings.length === 0) return [...refused.values()];
    const receipts = await hand(postings, signal);
    if (refused.size === 0) return receipts;
    let next = 0;
    return batch.map((_, index) => refused.get(index) ?? receipts[next++] ?? failed(notSent("it was refused")));
  };
}
