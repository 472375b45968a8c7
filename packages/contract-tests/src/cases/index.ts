import type { ContractCase } from "../case.ts";
import { envelopeCases } from "./a-envelope.ts";
import { foreignCases } from "./a-foreign.ts";
import { headerCases } from "./a-headers.ts";
import { pointToPointCases } from "./b-point-to-point.ts";
import { publishSubscribeCases } from "./c-publish-subscribe.ts";
import { competingConsumersCases } from "./d-competing-consumers.ts";
import { settlementCases } from "./e-settlement.ts";
import { retryCases } from "./f-retries.ts";
import { attemptCases } from "./e-attempts.ts";
import { overdueCases } from "./e-overdue.ts";
import { durableRetryCases } from "./f-durable-retries.ts";
import { delayCases } from "./g-delays.ts";
import { oddDelayCases } from "./g-odd-delays.ts";
import { lastingDelayCases } from "./g-delays-that-last.ts";
import { browsingCases } from "./h-browsing.ts";
import { deadLetterCases } from "./h-dead-letters.ts";
import { nextAttemptCases } from "./h-next-attempts.ts";
import { redriveBoundsCases } from "./h-redrive-bounds.ts";
import { redriveCases } from "./h-redrive.ts";
import { walkingCases } from "./h-walking.ts";
import { cutShortWalkCases } from "./h-walking-cut-short.ts";
import { orderChangingHandsCases } from "./i-order-changing-hands.ts";
import { orderOfFailuresCases } from "./i-order-of-failures.ts";
import { orderingCases } from "./i-ordering.ts";
import { concurrencyCases } from "./m-concurrency.ts";
import { inFlightCases } from "./m-in-flight.ts";
import { shutdownCases } from "./n-shutdown.ts";
import { connectionLossCases } from "./o-connection-loss.ts";
import { brokerRestartCases } from "./p-broker-restart.ts";
import { payloadCases } from "./q-payload.ts";
import { undecodableCases } from "./r-undecodable.ts";
import { schemaCases } from "./s-schema.ts";
import { topologyCases } from "./t-topology.ts";
import { randomCases } from "./x-random.ts";

/** Everything that a transport must show, by subject. */
export const contractCases: readonly ContractCase[] = [
  ...envelopeCases,
  ...headerCases,
  ...foreignCases,
  ...pointToPointCases,
  ...publishSubscribeCases,
  ...competingConsumersCases,
  ...settlementCases,
  ...attemptCases,
  ...overdueCases,
  ...retryCases,
  ...durableRetryCases,
  ...delayCases,
  ...oddDelayCases,
  ...lastingDelayCases,
  ...deadLetterCases,
  ...nextAttemptCases,
  ...redriveCases,
  ...redriveBoundsCases,
  ...browsingCases,
  ...walkingCases,
  ...cutShortWalkCases,
  ...orderingCases,
  ...orderOfFailuresCases,
  ...orderChangingHandsCases,
  ...concurrencyCases,
  ...inFlightCases,
  ...shutdownCases,
  ...connectionLossCases,
  ...brokerRestartCases,
  ...payloadCases,
  ...undecodableCases,
  ...schemaCases,
  ...topologyCases,
  ...randomCases,
];
