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
  TransportAdmin,
} from "@posthorn/core/transport";
import { copyMessage } from "@posthorn/core/transport";
import { withMessage, wrapTransport } from "../wrap-transport.ts";

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

/** The look at what waits is changed. */
export function administering(change: (admin: TransportAdmin) => Partial<TransportAdmin>): Plant {
  return (inner) =>
    wrapTransport(inner, {
      admin: {
        depth: (...args) => inner.admin.depth(...args),
        walk: (...args) => inner.admin.walk(...args),
        purge: (...args) => inner.admin.purge(...args),
        ...change(inner.admin),
      },
    });
}
