import type { Source } from "./address.ts";
import type { Message } from "./message.ts";
import type { Capabilities } from "./capabilities.ts";
import { sampleMessage } from "./sample-message.ts";
import type { Delivery, Outbound, Receipt, Receive, Settlement, Transport, Visit, WalkOptions } from "./transport.ts";
import { accepted } from "./transport.ts";

/** A transport whose every answer a test gives by hand. */
export interface FakeTransport extends Transport {
  /** Every batch that was dispatched. */
  readonly batches: (readonly Outbound[])[];
  /** Answers the dispatches; default: everything is accepted at once. */
  answer: (batch: readonly Outbound[], signal: AbortSignal) => Promise<readonly Receipt[]>;
  /** Delivers to the consumer of a source. */
  deliver(message: Message, delivery?: Partial<Delivery>): Promise<Settlement>;
  readonly calls: string[];
  /** What `admin.walk` goes through. */
  waiting: Message[];
}

export function createFakeTransport(capabilities: Partial<Capabilities> = {}): FakeTransport {
  const receivers = new Map<string, Receive>();
  const never = new AbortController().signal;
  const refuse = (): Promise<never> => Promise.reject(new Error("not part of this fake"));
  const fake: FakeTransport = {
    specVersion: 1,
    system: "fake",
    capabilities: {
      maxMessageBytes: 1_048_576,
      durable: false,
      settlement: "message",
      delayedDelivery: false,
      ordering: false,
      replies: false,
      ...capabilities,
    },
    admin: {
      depth: refuse,
      walk: (_source, visit, options) => walk(fake, visit, options),
      async purge() {
        return fake.waiting.splice(0).length;
      },
    },
    waiting: [],
    batches: [],
    calls: [],
    answer: (batch) => Promise.resolve(batch.map(() => accepted)),
    async connect() {
      fake.calls.push("connect");
    },
    async provision(_topology, mode) {
      fake.calls.push(`provision ${mode}`);
      return [];
    },
    dispatch(batch, { signal }) {
      fake.batches.push([...batch]);
      return fake.answer(batch, signal);
    },
    async consume(source: Source, receive) {
      fake.calls.push(`consume ${source.id}`);
      receivers.set(source.id, receive);
      return {
        pause: () => fake.calls.push("pause"),
        resume: () => fake.calls.push("resume"),
        resize: (maxInFlight) => fake.calls.push(`resize ${maxInFlight}`),
        stop: async () => void fake.calls.push("stop"),
      };
    },
    health: () => ({ status: "connected" }),
    async close() {
      fake.calls.push("close");
    },
    deliver(message, delivery) {
      const [receive] = receivers.values();
      if (receive === undefined) throw new Error("nobody consumes");
      return receive({ message, deliveryCount: undefined, defect: undefined, lost: never, ...delivery });
    },
  };
  return fake;
}

/** Removals count as soon as their visit says so, as on a broker. */
async function walk(fake: FakeTransport, visit: Visit, { signal, limit, maxPending }: WalkOptions): Promise<void> {
  const pending = new Set<Promise<void>>();
  let stopped = false;
  let failure: { readonly error: unknown } | undefined;
  const look = async (message: Message): Promise<void> => {
    try {
      const verdict = await visit(message);
      if (verdict === "remove") fake.waiting = fake.waiting.filter((each) => each !== message);
      stopped ||= verdict === "stop";
    } catch (error) {
      failure ??= { error };
    }
  };
  for (const message of fake.waiting.slice(0, limit)) {
    if (pending.size >= maxPending) await Promise.race(pending);
    signal.throwIfAborted();
    if (stopped || failure !== undefined) break;
    const visiting = look(message).finally(() => pending.delete(visiting));
    pending.add(visiting);
  }
  await Promise.all(pending);
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
}

/** A message as a transport would deliver it. */
export function aMessage(changes: Partial<Message> = {}): Message {
  return sampleMessage({
    id: "message-1",
    type: "place-order",
    source: "shop",
    correlationId: "flow-1",
    body: new TextEncoder().encode('{"sku":"a"}'),
    ...changes,
  });
}
