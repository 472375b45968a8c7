/** Programs that have never heard of Posthorn, as tests use them: the AWS SDK of JavaScript, and boto3, that of Python. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type {
  CreateQueueCommandInput,
  CreateQueueCommandOutput,
  GetQueueAttributesCommandInput,
  GetQueueAttributesCommandOutput,
  GetQueueUrlCommandInput,
  GetQueueUrlCommandOutput,
  ReceiveMessageCommandInput,
  ReceiveMessageCommandOutput,
  SendMessageCommandInput,
  SendMessageCommandOutput,
  SetQueueAttributesCommandInput,
  SetQueueAttributesCommandOutput,
} from "@aws-sdk/client-sqs";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
import type {
  ListTopicsCommandInput,
  ListTopicsCommandOutput,
  PublishCommandInput,
  PublishCommandOutput,
  SubscribeCommandInput,
  SubscribeCommandOutput,
} from "@aws-sdk/client-sns";
import { ListTopicsCommand, PublishCommand, SubscribeCommand } from "@aws-sdk/client-sns";
import type { SqsBroker } from "../brokers/broker.ts";
import { buildDeadlineMs, cacheFolder } from "../brokers/cache.ts";
import { run } from "../brokers/run.ts";
import { sqsClients } from "../brokers/sqs-clients.ts";
import { ensureTool } from "../brokers/tools.ts";

/** Requests and answers are the same in both, by the names of AWS's API. */
export interface ForeignClient extends AsyncDisposable {
  createQueue(input: CreateQueueCommandInput): Promise<CreateQueueCommandOutput>;
  getQueueAttributes(input: GetQueueAttributesCommandInput): Promise<GetQueueAttributesCommandOutput>;
  getQueueUrl(input: GetQueueUrlCommandInput): Promise<GetQueueUrlCommandOutput>;
  receiveMessage(input: ReceiveMessageCommandInput): Promise<ReceiveMessageCommandOutput>;
  sendMessage(input: SendMessageCommandInput): Promise<SendMessageCommandOutput>;
  setQueueAttributes(input: SetQueueAttributesCommandInput): Promise<SetQueueAttributesCommandOutput>;
  listTopics(input: ListTopicsCommandInput): Promise<ListTopicsCommandOutput>;
  publish(input: PublishCommandInput): Promise<PublishCommandOutput>;
  subscribe(input: SubscribeCommandInput): Promise<SubscribeCommandOutput>;
}

export async function openJavaScriptSdk(broker: SqsBroker): Promise<ForeignClient> {
  const clients = sqsClients(broker);
  const { sqs, sns } = clients;
  return {
    createQueue: (input) => sqs.send(new CreateQueueCommand(input)),
    getQueueAttributes: (input) => sqs.send(new GetQueueAttributesCommand(input)),
    getQueueUrl: (input) => sqs.send(new GetQueueUrlCommand(input)),
    receiveMessage: (input) => sqs.send(new ReceiveMessageCommand(input)),
    sendMessage: (input) => sqs.send(new SendMessageCommand(input)),
    setQueueAttributes: (input) => sqs.send(new SetQueueAttributesCommand(input)),
    listTopics: (input) => sns.send(new ListTopicsCommand(input)),
    publish: (input) => sns.send(new PublishCommand(input)),
    subscribe: (input) => sns.send(new SubscribeCommand(input)),
    [Symbol.asyncDispose]: async () => clients[Symbol.dispose](),
  };
}

/** The release that `boto3.txt` names. */
const release = "1.43.106";

/** From PyPI on the first use, and cached, as the emulator is. */
async function boto3Packages(python: string): Promise<string> {
  const folder = join(cacheFolder(), `boto3-${release}`);
  const script = fileURLToPath(new URL("../brokers/sqs-packages.sh", import.meta.url));
  const requirements = fileURLToPath(new URL("boto3.txt", import.meta.url));
  await run(["sh", script, requirements, folder, python], { name: "sqs-packages.sh", timeoutMs: buildDeadlineMs });
  return folder;
}

export async function openBoto3({ endpoint, region, credentials }: SqsBroker): Promise<ForeignClient> {
  const found = await ensureTool("python3", { log: console.error });
  // What is found may be a script that chooses among several, and needs its environment for that.
  const python = (await run([found, "-c", "import sys; print(sys.executable)"])).trim();
  const program = fileURLToPath(new URL("boto3-client.py", import.meta.url));
  const child = spawn(python, [program], {
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      PYTHONPATH: await boto3Packages(python),
      AWS_ENDPOINT_URL: endpoint,
      AWS_DEFAULT_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
  });
  const closed = once(child, "close");
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  /** One request at a time. */
  async function ask<Output>(service: "sqs" | "sns", operation: string, parameters: object): Promise<Output> {
    child.stdin.write(`${JSON.stringify([service, operation, parameters])}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`boto3 ended before it answered ${operation}.`);
    return JSON.parse(value) as Output;
  }
  return {
    createQueue: (input) => ask("sqs", "CreateQueue", input),
    getQueueAttributes: (input) => ask("sqs", "GetQueueAttributes", input),
    getQueueUrl: (input) => ask("sqs", "GetQueueUrl", input),
    receiveMessage: (input) => ask("sqs", "ReceiveMessage", input),
    sendMessage: (input) => ask("sqs", "SendMessage", input),
    setQueueAttributes: (input) => ask("sqs", "SetQueueAttributes", input),
    listTopics: (input) => ask("sns", "ListTopics", input),
    publish: (input) => ask("sns", "Publish", input),
    subscribe: (input) => ask("sns", "Subscribe", input),
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await closed;
    },
  };
}
