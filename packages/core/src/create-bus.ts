import type { Bus, BusOptions } from "./bus.ts";
import { PosthornError } from "./errors.ts";

export function createBus(options: BusOptions): Bus {
  throw new PosthornError("INVALID_OPTION", `being written: ${options.service}`);
}
