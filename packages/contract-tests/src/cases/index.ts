import type { ContractCase } from "../case.ts";
import { envelopeCases } from "./a-envelope.ts";
import { foreignCases } from "./a-foreign.ts";
import { headerCases } from "./a-headers.ts";
import { pointToPointCases } from "./b-point-to-point.ts";
import { publishSubscribeCases } from "./c-publish-subscribe.ts";
import { competingConsumersCases } from "./d-competing-consumers.ts";
import { settlementCases } from "./e-settlement.ts";
import { retryCases } from "./f-retries.ts";
import { capabilityCases } from "./g-capabilities.ts";
import { browsingCases } from "./h-browsing.ts";
import { deadLetterCases } from "./h-dead-letters.ts";
import { concurrencyCases } from "./m-concurrency.ts";
import { inFlightCases } from "./m-in-flight.ts";
import { shutdownCases } from "./n-shutdown.ts";
import { connectionLossCases } from "./o-connection-loss.ts";
import { brokerRestartCases } from "./p-broker-restart.ts";
import { payloadCases } from "./q-payload.ts";
import { undecodableCases } from "./r-undecodable.ts";
import { schemaCases } from "./s-schema.ts";
import { topologyCases } from "./t-topology.ts";

/** Everything that a transport must show, by subject. */
export const contractCases: readonly ContractCase[] = [
  ...envelopeCases,
  ...headerCases,
  ...foreignCases,
  ...pointToPointCases,
  ...publishSubscribeCases,
  ...competingConsumersCases,
  ...settlementCases,
  ...retryCases,
  ...capabilityCases,
  ...deadLetterCases,
  ...browsingCases,
  ...concurrencyCases,
  ...inFlightCases,
  ...shutdownCases,
  ...connectionLossCases,
  ...brokerRestartCases,
  ...payloadCases,
  ...undecodableCases,
  ...schemaCases,
  ...topologyCases,
];
