/** What goes to SQS ten to a request: at once when no request is under way, otherwise with all that gathers meanwhile. */
export interface Tens<Entry> {
  add(entry: Entry): void;
}

/** Most entries of a batch. */
export const batchSize = 10;
/** Most requests of a kind at a time; only full ones go beside another. */
const mostUnderWay = 8;

/** @param send tells its entries itself what became of them, and never rejects */
export function createTens<Entry>(send: (entries: readonly Entry[]) => Promise<void>): Tens<Entry> {
  let waiting: Entry[] = [];
  let underWay = 0;
  let scheduled = false;

  function sendAll(): void {
    scheduled = false;
    let sent = 0;
    for (let left = waiting.length; left > 0; left = waiting.length - sent) {
      if (underWay >= (left >= batchSize ? mostUnderWay : 1)) break;
      void sendSome(waiting.slice(sent, sent + batchSize));
      sent += batchSize;
    }
    if (sent > 0) waiting = waiting.slice(sent);
  }

  async function sendSome(entries: readonly Entry[]): Promise<void> {
    underWay++;
    await send(entries);
    underWay--;
    sendAll();
  }

  return {
    add(entry) {
      waiting.push(entry);
      if (scheduled) return;
      scheduled = true;
      // What is added in the same turn of the event loop goes together.
      setImmediate(sendAll);
    },
  };
}
