/** The receipt handles of what consumers have received: nobody but a proxy can know those of others. */
import type { AwsRequest, HttpAnswer } from "../brokers/sqs-wire.ts";

export interface ReceivedHandles {
  onAnswer(request: AwsRequest, answer: HttpAnswer): void;
  /**
   * By tens, as they are given back. Of a message group those that may be held stay together, the oldest first: never more than ten are in
   * flight, and some come back before others where they are not given back in one request.
   *
   * @param queue its name
   */
  of(queue: string): Iterable<readonly string[]>;
}

interface Received {
  readonly ReceiptHandle: string;
  readonly Attributes?: { readonly MessageGroupId?: string };
}

/** Most that are remembered of a queue; older ones are long settled. */
const most = 2_000;
const batchSize = 10;

export function receivedHandles(): ReceivedHandles {
  const byQueue = new Map<string, Received[]>();
  return {
    onAnswer({ action, resource }, { status, body }) {
      if (action !== "ReceiveMessage" || status !== 200) return;
      const { Messages = [] } = JSON.parse(body.toString()) as { readonly Messages?: readonly Received[] };
      const queue = resource.slice(resource.lastIndexOf("/") + 1);
      byQueue.set(queue, [...(byQueue.get(queue) ?? []), ...Messages].slice(-most));
    },
    *of(queue) {
      const received = byQueue.get(queue) ?? [];
      const byGroup = Map.groupBy(received, ({ Attributes }) => Attributes?.MessageGroupId);
      for (const [group, messages] of byGroup) {
        const handles = messages.map(({ ReceiptHandle }) => ReceiptHandle);
        if (group !== undefined) yield handles.slice(-batchSize);
        else
          for (let end = handles.length; end > 0; end -= batchSize)
            yield handles.slice(Math.max(0, end - batchSize), end);
      }
    },
  };
}
