/** For tests of applications and adapters. */
export { sampleMessage } from "./sample-message.ts";
export { createVirtualClock } from "./virtual-clock.ts";
export type { VirtualClock } from "./virtual-clock.ts";
