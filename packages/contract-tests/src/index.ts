/** What every Posthorn transport must show, as cases for any test runner. */
export { contractCases } from "./cases/index.ts";
export { declareContract } from "./declare.ts";
export { runHangingConsumer } from "./hanging-consumer.ts";
export { deadlineOf, runCase } from "./run-case.ts";
export type { ContractCase, SwitchableCapability } from "./case.ts";
export type { Runner } from "./declare.ts";
export type {
  Bounds,
  ContractHarness,
  Faults,
  HangingConsumer,
  HangingJob,
  Link,
  NativeBroker,
  NativeMessage,
  OpenEnvironment,
  Place,
} from "./harness.ts";
export type { World } from "./world.ts";
