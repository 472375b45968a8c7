/** What a transport tells of itself, and how it says that it is: the same words and the same order of states for all. */
import { messageOf } from "./errors.ts";
import type { TransportEvent, TransportHealth } from "./transport.ts";

export interface TransportReports {
  /** Until then nobody hears it. */
  listen(report: (event: TransportEvent) => void): void;
  /** @param where such as `localhost:9092` */
  connected(where: string): void;
  /** Once for an outage: not while it is disconnected anyway. */
  disconnected(error: unknown): void;
  /** Publishers are held up. @param reason `undefined` when they are no more */
  blocked(reason: string | undefined): void;
  /** @param detail without its full stop; the error's message is added */
  failed(detail: string, error: unknown): void;
  /** @param what as the subject of a sentence, such as `The consumer of queue "orders"` */
  consumer(what: string): ConsumerReports;
  health(): TransportHealth;
  /** For good. */
  closed(): void;
}

/** Of one consumption. */
export interface ConsumerReports {
  lost(error: unknown): void;
  restored(): void;
  /** It is none of the transport's any more. */
  ended(): void;
}

/** @param system such as `Kafka` */
export function createReports(system: string): TransportReports {
  let report: (event: TransportEvent) => void = () => undefined;
  let status: TransportHealth["status"] = "connecting";
  let blockedBy: string | undefined;
  const lostConsumers = new Set<ConsumerReports>();

  return {
    listen(listener) {
      report = listener;
    },

    connected(where) {
      if (status === "closed") return;
      status = "connected";
      report({ name: "transport.connected", detail: `Connected to ${system} at ${where}.` });
    },

    disconnected(error) {
      if (status !== "connected") return;
      status = "disconnected";
      const reason = error === undefined ? "." : `: ${messageOf(error)}`;
      report({
        name: "transport.disconnected",
        detail: `The connection to ${system} was lost${sentence(reason)} Connecting again.`,
        error,
      });
    },

    blocked(reason) {
      blockedBy = reason;
      if (reason === undefined) report({ name: "transport.unblocked", detail: `${system} takes messages again.` });
      else report({ name: "transport.blocked", detail: sentence(`${system} takes no messages at present: ${reason}`) });
    },

    failed(detail, error) {
      const text = error === undefined ? detail : `${detail}: ${messageOf(error)}`;
      report({ name: "transport.failed", detail: sentence(text), error });
    },

    consumer(what) {
      const consumer: ConsumerReports = {
        lost(error) {
          lostConsumers.add(consumer);
          const detail = sentence(`${what} was lost: ${messageOf(error)}`);
          report({ name: "transport.consumer-lost", detail, error });
        },
        restored() {
          lostConsumers.delete(consumer);
          report({ name: "transport.consumer-restored", detail: `${what} is back.` });
        },
        ended: () => void lostConsumers.delete(consumer),
      };
      return consumer;
    },

    health() {
      if (status !== "connected") return { status };
      if (blockedBy !== undefined)
        return { status: "degraded", detail: `${system} takes no messages at present: ${blockedBy}` };
      if (lostConsumers.size > 0) return { status: "degraded", detail: "A consumer is being restored." };
      return { status };
    },

    closed() {
      status = "closed";
    },
  };
}

/** With a full stop, of which messages of errors mostly have one. */
function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
