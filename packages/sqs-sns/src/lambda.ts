/**
 * A bus in AWS Lambda: the same handlers, retries and dead letters, while Lambda receives and deletes.
 *
 * The copies that core makes of a message, for its next attempt or for the dead letters, are on their queue before its record is
 * accepted: so nothing depends on the next invocation.
 */
import type { Transport, TransportEnvironment } from "@posthorn/core/transport";
import type { SqsLambdaHandler } from "./lambda-handler.ts";
import { createLambdaHandler } from "./lambda-handler.ts";
import { createLambdaRoutes } from "./lambda-routes.ts";
import { namesOf } from "./names.ts";
import type { SqsOptions } from "./options.ts";
import { readOptions } from "./options.ts";
import { completeEnvironment, createSqsTransport } from "./transport.ts";

export interface SqsLambda {
  /** For `createBus`. It consumes what the handler is given, and is else the one that `sqs()` makes. */
  readonly transport: Transport;
  /**
   * What the function exports. Handles the messages of one invocation, and answers with those that are to come again.
   *
   * An invocation that comes before the bus has started waits for it. What is not handled one second before the function's time is
   * over (before the last fifth of it, where that is less) is lost: its signal fires, and it is among those that come again. Without a
   * context nothing is ever too late.
   *
   * @throws NOT_STARTED when the bus does not consume the queue by then; UNDECLARED_CONTRACT at once when it never will, unless the
   * bus assumes what exists (`provision: "assume"`); CLOSED; INVALID_OPTION
   * when the event is none of SQS. Then nothing of the event was handled, and all of it comes again.
   */
  readonly handler: SqsLambdaHandler;
}

/**
 * SQS and SNS for a function in AWS Lambda, to which event source mappings bring the messages of the bus's queues.
 *
 * ```ts
 * const { transport, handler } = sqsLambda({ region: "eu-central-1", visibilitySeconds: 180 });
 * const bus = createBus({ service: "billing", transport, provision: "verify" });
 * bus.handle(ChargeCard, charge);
 * await bus.start();
 * export { handler };
 * ```
 *
 * **Every mapping needs `FunctionResponseTypes: ["ReportBatchItemFailures"]`**: without it Lambda deletes also what has failed.
 *
 * @param options as of `sqs()`. `visibilitySeconds`, of queues that are made, should be six times the function's timeout
 * @throws INVALID_OPTION
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export function sqsLambda(options: SqsOptions = {}, environment?: Partial<TransportEnvironment>): SqsLambda {
  const settings = readOptions({ ...options });
  const complete = completeEnvironment(environment);
  const names = namesOf(settings);
  const routes = createLambdaRoutes(settings);
  const transport = createSqsTransport(settings, complete, routes.openReader);
  return {
    transport: {
      ...transport,

      async provision(topology, mode, abortable) {
        const changes = await transport.provision(topology, mode, abortable);
        const queues = topology.groups.flatMap(({ channel, name }) => [
          names.queue(channel, name),
          ...(channel.ordered ? [names.delay(channel, name)] : []),
        ]);
        routes.expect(queues);
        return changes;
      },

      async close(abortable) {
        routes.close();
        await transport.close(abortable);
      },
    },
    handler: createLambdaHandler(routes, complete.clock),
  };
}
