/** Transports with one planted bug each: what shows that the cases can fail. */
import { delayMutants } from "./delays.ts";
import { deliveryMutants } from "./delivery.ts";
import { dispatchMutants } from "./dispatch.ts";
import { envelopeMutants } from "./envelope.ts";
import { lifeCycleMutants } from "./life-cycle.ts";
import { orderMutants } from "./order.ts";
import { walkMutants } from "./walks.ts";
import type { Mutant } from "./mutant.ts";

export const mutants: readonly Mutant[] = [
  ...envelopeMutants,
  ...deliveryMutants,
  ...dispatchMutants,
  ...lifeCycleMutants,
  ...delayMutants,
  ...orderMutants,
  ...walkMutants,
];
export { wrapTransport } from "../wrap-transport.ts";
export type { Mutant, Plant } from "./mutant.ts";
