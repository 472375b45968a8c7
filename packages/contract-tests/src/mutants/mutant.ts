import type { Transport } from "@posthorn/core";
import type {
  ConsumeOptions,
  Consumption,
  Delivery,
  Message,
  Outbound,
  Receipt,
  Receive,
  Settlement,
  Source,
} from "@posthorn/core/transport";
import { copyMessage } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";

/** A transport with one planted bug. The suite is worth something only if named cases fail on it. */
export interface Mutant {
  /** What it does wrong, as a sentence. */
  readonly bug: string;
  /** Every one of these cases must fail. */
  readonly killedBy: readonly string[];
  /** Called once for a harness; what it returns is called for each of its transports. */
  readonly plant: () => Plant;
}

export type Plant = (transport: Transport) => Transport;

/** A bug that keeps nothing between transports. */
export function mutant(bug: string, killedBy: readonly string[], plant: Plant): Mutant {
  return { bug, killedBy, plant: () => plant };
}

/** What goes out is changed. */
export function sending(change: (outbound: Outbound) => Outbound): Plant {
  return (inner) => wrapTransport(inner, { dispatch: (batch, options) => inner.dispatch(batch.map(change), options) });
}

/** The message that goes out is changed. */
export function sendingMessage(change: (message: Message) => Partial<Message>): Plant {
  return sending(({ address, message }) => ({ address, message: copyMessage(message, change(message)) }));
}

/** What the broker answered is changed. */
export function answering(
  change: (receipts: readonly Receipt[], batch: readonly Outbound[]) => readonly Receipt[],
): Plant {
  return (inner) =>
    wrapTransport(inner, { dispatch: async (batch, options) => change(await inner.dispatch(batch, options), batch) });
}

/** What is received, and what is answered to it, is changed. */
export function receiving(change: (receive: Receive, inner: Transport, source: Source) => Receive): Plant {
  return (inner) =>
    wrapTransport(inner, {
      consume: (source, receive, options) => inner.consume(source, change(receive, inner, source), options),
    });
}

/** The message that comes in is changed. */
export function receivingMessage(change: (delivery: Delivery) => Partial<Message>): Plant {
  return receiving(
    (receive) => (delivery) => receive(withMessage(delivery, copyMessage(delivery.message, change(delivery)))),
  );
}

/** The settlement that goes out is changed. */
export function settling(change: (settlement: Settlement) => Settlement): Plant {
  return receiving((receive) => async (delivery) => change(await receive(delivery)));
}

/** A running intake is changed. */
export function consuming(
  change: (consumption: Consumption) => Partial<Consumption>,
  options: (given: ConsumeOptions) => ConsumeOptions = (given) => given,
): Plant {
  return (inner) =>
    wrapTransport(inner, {
      async consume(source, receive, given) {
        const consumption = await inner.consume(source, receive, options(given));
        const healthy: Consumption = {
          pause: () => consumption.pause(),
          resume: () => consumption.resume(),
          resize: (maxInFlight) => consumption.resize(maxInFlight),
          stop: () => consumption.stop(),
        };
        return { ...healthy, ...change(consumption) };
      },
    });
}

/** Its `lost` stays lazy, as the original's may be. */
export function withMessage(
  delivery: Delivery,
  message: Message,
  changes: { readonly defect?: undefined; readonly lost?: AbortSignal } = {},
): Delivery {
  return {
    message,
    deliveryCount: delivery.deliveryCount,
    defect: "defect" in changes ? changes.defect : delivery.defect,
    get lost() {
      return changes.lost ?? delivery.lost;
    },
  };
}
