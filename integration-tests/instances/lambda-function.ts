// A function of AWS Lambda, whose parent is the runtime: node lambda-function.ts ENDPOINT REGION ACCESS_KEY_ID SECRET_ACCESS_KEY
import { createBus } from "@posthorn/core";
import { type SqsEvent, sqsLambda } from "@posthorn/sqs-sns";
import { ChargeCard, CardCharged } from "./lambda-contracts.ts";

const [endpoint = "", region = "", accessKeyId = "", secretAccessKey = ""] = process.argv.slice(2);
const { transport, handler } = sqsLambda({ endpoint, region, credentials: { accessKeyId, secretAccessKey } });
const bus = createBus({ service: "billing", transport, observe: () => undefined });
bus.declare(CardCharged);
bus.handle(
  ChargeCard,
  async ({ data }, context) => {
    if (context.attempt === 1) throw new Error("It fails once.");
    await context.send(CardCharged, data);
  },
  { retry: { attempts: 3, backoff: { initialMs: 1_500, maxMs: 1_500, jitter: 0 } } },
);
await bus.start();

process.on("message", ({ event, remainingMs }: { event: SqsEvent; remainingMs: number }) => {
  handler(event, { getRemainingTimeInMillis: () => remainingMs }).then(
    (response) => process.send?.(response),
    (error: unknown) => process.emit("uncaughtException", error as Error),
  );
});
process.send?.("ready");
