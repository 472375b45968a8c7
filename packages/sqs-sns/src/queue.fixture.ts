/** One queue of SQS in memory, on a clock that tests own. */
import { createNotice, sleep } from "@posthorn/core/transport";
import type { VirtualClock } from "@posthorn/core/testing";
import type {
  AttributeValue,
  EntryResult,
  OutgoingMessage,
  ReceivedMessage,
  ReceiveRequest,
  SendEntry,
} from "./aws.ts";

export interface FakeMessage {
  readonly messageId: string;
  readonly body: string;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly sentAt: number;
  readonly groupId: string | undefined;
  readonly deduplicationId: string | undefined;
  /** Out of sight until then. */
  visibleAt: number;
  receiveCount: number;
  /** The last one that was given out. */
  receiptHandle: string | undefined;
  receivedAt: number;
}

export interface FakeQueue {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly fifo: boolean;
  readonly createdAt: number;
  readonly attributes: Record<string, string>;
  readonly tags: Readonly<Record<string, string>>;
  /** Oldest first, with those that nobody can see at present. */
  readonly messages: FakeMessage[];
  /** Those that could be received now. */
  readonly visible: readonly FakeMessage[];
  /** Received, and not back yet. */
  readonly inFlight: readonly FakeMessage[];
  /** Sent with a delay that is not over. */
  readonly delayed: readonly FakeMessage[];
  accept(entry: SendEntry): EntryResult;
  /** As it is, from another queue. */
  put(message: FakeMessage): void;
  receive(request: ReceiveRequest, signal: AbortSignal): Promise<readonly ReceivedMessage[]>;
  delete(receiptHandle: string): EntryResult;
  changeVisibility(receiptHandle: string, visibilitySeconds: number): EntryResult;
}

export interface FakeQueueOptions {
  readonly name: string;
  readonly url: string;
  readonly arn: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly clock: VirtualClock;
  /** Where the redrive policy leads. */
  readonly queueByArn: (arn: string) => FakeQueue | undefined;
}

const deduplicationMs = 300_000;
const longestHeldMs = 43_200_000;
let lastId = 0;

export function createFakeQueue(options: FakeQueueOptions): FakeQueue {
  const { name, url, arn, clock } = options;
  const fifo = name.endsWith(".fifo");
  const attributes: Record<string, string> = { QueueArn: arn, ...options.attributes };
  let messages: FakeMessage[] = [];
  /** When each was last accepted. */
  const deduplication = new Map<string, number>();
  /** By handle: the message, even when the handle is old. */
  const handles = new Map<string, FakeMessage>();
  const changed = createNotice();

  const isHidden = ({ visibleAt }: FakeMessage): boolean => visibleAt > clock.now();
  const isHeld = (message: FakeMessage): boolean => isHidden(message) && message.receiptHandle !== undefined;
  const limitOf = (field: string, otherwise: number): number => Number(attributes[field] ?? otherwise);

  function put(message: FakeMessage): void {
    messages.push(message);
    changed.notify();
  }

  function move(message: FakeMessage, target: FakeQueue): void {
    messages = messages.filter((each) => each !== message);
    target.put({ ...message, visibleAt: clock.now(), receiptHandle: undefined });
  }

  /** @returns those that can be received now, the worn-out ones aside */
  function receivable(maxMessages: number): readonly FakeMessage[] {
    const held = new Set(fifo ? messages.filter(isHeld).map(({ groupId }) => groupId) : []);
    const policy = JSON.parse(attributes["RedrivePolicy"] ?? "{}") as {
      deadLetterTargetArn?: string;
      maxReceiveCount?: number | string;
    };
    const target =
      policy.deadLetterTargetArn === undefined ? undefined : options.queueByArn(policy.deadLetterTargetArn);
    const found: FakeMessage[] = [];
    // What is moved away makes a new list.
    for (const message of messages) {
      if (found.length === maxMessages) break;
      if (isHidden(message) || (fifo && held.has(message.groupId))) continue;
      if (target !== undefined && message.receiveCount >= Number(policy.maxReceiveCount)) move(message, target);
      else found.push(message);
    }
    return found;
  }

  function handOut(message: FakeMessage, visibilitySeconds: number): ReceivedMessage {
    message.receiveCount++;
    message.receivedAt = clock.now();
    message.visibleAt = clock.now() + visibilitySeconds * 1_000;
    const receiptHandle = `${name}:${message.messageId}:${message.receiveCount}:${++lastId}`;
    message.receiptHandle = receiptHandle;
    handles.set(receiptHandle, message);
    const { messageId, body, attributes: own, sentAt, groupId, receiveCount } = message;
    return { messageId, receiptHandle, body, attributes: { ...own }, receiveCount, sentAt, groupId };
  }

  /** Until something may have come into sight. */
  function untilChange(until: number, signal: AbortSignal): Promise<void> {
    const next = messages.map(({ visibleAt }) => visibleAt).filter((at) => at > clock.now());
    const over = new AbortController();
    const due = sleep(clock, Math.min(until, ...next) - clock.now(), AbortSignal.any([signal, over.signal]));
    return Promise.race([due, changed.next]).finally(() => over.abort());
  }

  return {
    name,
    url,
    arn,
    fifo,
    createdAt: clock.now(),
    attributes,
    tags: options.tags,
    get messages() {
      return messages;
    },
    get visible() {
      return messages.filter((message) => !isHidden(message));
    },
    get inFlight() {
      return messages.filter(isHeld);
    },
    get delayed() {
      return messages.filter((message) => isHidden(message) && !isHeld(message));
    },

    accept(entry) {
      const { body, delaySeconds, groupId, deduplicationId } = entry;
      const wrong = (code: string, message: string): EntryResult => ({ ok: false, code, message, senderFault: true });
      if (body === "") return wrong("MissingParameter", "The request must contain the parameter MessageBody.");
      if (!isLegal(body))
        return wrong("InvalidMessageContents", "The message contains characters outside the allowed set.");
      if (Object.keys(entry.attributes).length > 10) return wrong("InvalidParameterValue", "Too many attributes.");
      if (fakeBytes(entry) > limitOf("MaximumMessageSize", 1_048_576))
        return wrong("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter.");
      if (fifo && (groupId === undefined || deduplicationId === undefined))
        return wrong("MissingParameter", "The request must contain the parameter MessageGroupId.");
      if (fifo && delaySeconds !== undefined)
        return wrong(
          "InvalidParameterValue",
          "The request includes a parameter that is not valid for this queue type.",
        );
      if (!fifo && deduplicationId !== undefined)
        return wrong(
          "InvalidParameterValue",
          "The request includes a parameter that is not valid for this queue type.",
        );
      if (delaySeconds !== undefined && !(Number.isInteger(delaySeconds) && delaySeconds >= 0 && delaySeconds <= 900))
        return wrong("InvalidParameterValue", "DelaySeconds must be >= 0 and <= 900.");
      if (fifo) {
        const scope = attributes["DeduplicationScope"] === "messageGroup" ? (groupId ?? "") : "";
        const id = JSON.stringify([scope, deduplicationId]);
        const last = deduplication.get(id);
        if (last !== undefined && clock.now() - last < deduplicationMs) return { ok: true };
        deduplication.set(id, clock.now());
      }
      put({
        messageId: `00000000-0000-4000-8000-${String(++lastId).padStart(12, "0")}`,
        body,
        attributes: { ...entry.attributes },
        sentAt: clock.now(),
        groupId,
        deduplicationId,
        visibleAt: clock.now() + (delaySeconds ?? limitOf("DelaySeconds", 0)) * 1_000,
        receiveCount: 0,
        receiptHandle: undefined,
        receivedAt: 0,
      });
      return { ok: true };
    },

    put,

    async receive({ maxMessages, waitSeconds, visibilitySeconds }, signal) {
      const until = clock.now() + waitSeconds * 1_000;
      for (;;) {
        const found = receivable(maxMessages);
        if (found.length > 0 || clock.now() >= until)
          return found.map((message) => handOut(message, visibilitySeconds));
        await untilChange(until, signal);
      }
    },

    delete(receiptHandle) {
      const message = handles.get(receiptHandle);
      if (message === undefined) return invalidHandle();
      if (!messages.includes(message)) return { ok: true };
      const isCurrent = message.receiptHandle === receiptHandle;
      if (fifo && !(isCurrent && isHeld(message))) return expiredHandle();
      if (isCurrent) messages = messages.filter((each) => each !== message);
      // The next one of its group comes into sight.
      changed.notify();
      return { ok: true };
    },

    changeVisibility(receiptHandle, visibilitySeconds) {
      const message = handles.get(receiptHandle);
      if (message === undefined) return invalidHandle();
      const isCurrent = messages.includes(message) && message.receiptHandle === receiptHandle;
      if (!isCurrent) return expiredHandle();
      if (!isHeld(message))
        return { ok: false, code: "MessageNotInflight", message: "The message is not in flight.", senderFault: true };
      const visibleAt = clock.now() + visibilitySeconds * 1_000;
      if (visibleAt > message.receivedAt + longestHeldMs)
        return {
          ok: false,
          code: "InvalidParameterValue",
          message: "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].",
          senderFault: true,
        };
      message.visibleAt = visibleAt;
      changed.notify();
      return { ok: true };
    },
  };
}

/** As SQS and SNS count a message. */
export function fakeBytes({ body, attributes }: OutgoingMessage): number {
  const own = Object.entries(attributes).map(([name, value]) =>
    typeof value === "string"
      ? Buffer.byteLength(name) + "String".length + Buffer.byteLength(value)
      : Buffer.byteLength(name) + "Binary".length + value.byteLength,
  );
  return own.reduce((sum, bytes) => sum + bytes, Buffer.byteLength(body));
}

function isLegal(text: string): boolean {
  return /^[\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]*$/u.test(text);
}

function invalidHandle(): EntryResult {
  return {
    ok: false,
    code: "ReceiptHandleIsInvalid",
    message: "The input receipt handle is invalid.",
    senderFault: true,
  };
}

function expiredHandle(): EntryResult {
  return {
    ok: false,
    code: "InvalidParameterValue",
    message: "The receipt handle has expired.",
    senderFault: true,
  };
}
