import type { Transport } from "@posthorn/core";
import type { Bounds, ContractHarness, Faults, Link, OpenEnvironment, Place } from "@posthorn/contract-tests";
import type { SqsOptions } from "@posthorn/sqs-sns";
import { sqs } from "@posthorn/sqs-sns";
import type { ServerControl, SqsBroker } from "../brokers/broker.ts";
import type { InjectedFault } from "../brokers/http-faults.ts";
import type { HttpLink } from "../brokers/http-link.ts";
import { openHttpLink } from "../brokers/http-link.ts";
import { spawnHangingConsumer } from "./hanging-consumer-process.ts";
import type { NativeSqs } from "./sqs-native.ts";
import { nativeSqs, queueName } from "./sqs-native.ts";
import { receivedHandles } from "./sqs-received.ts";
import { uniqueNames } from "./unique-names.ts";

const visibilitySeconds = 3;
/** A queue that was deleted is noticed when the open poll ends. */
const waitSeconds = 3;
const requestTimeoutMs = 2_000;

const bounds: Bounds = {
  patienceMs: 10_000,
  redeliveryMs: visibilitySeconds * 1_000 + 7_000,
  resumeMs: 20_000,
  detectMs: requestTimeoutMs + 6_000,
  leaseMs: visibilitySeconds * 1_000,
  // A poll that a closing client gives up may take what is due, as on AWS: it is back when its visibility timeout is over.
  delayToleranceMs: visibilitySeconds * 1_000 + 3_000,
  backlog: 2_000,
};

export async function sqsHarness(broker: SqsBroker): Promise<ContractHarness> {
  const handles = receivedHandles();
  const links = new Set<HttpLink>();
  const open = (endpoint: string, environment: OpenEnvironment = {}): Transport =>
    sqs({ ...optionsFor(broker), endpoint }, environment);
  async function openLink(): Promise<HttpLink> {
    const link = await openHttpLink(broker.endpoint, {
      onAnswer: (request, answer) => handles.onAnswer(request, answer),
    });
    links.add(link);
    return link;
  }
  // What everybody uses who has no link of his own.
  const shared = await openLink();
  const native = nativeSqs(broker);
  return {
    name: broker.version,
    capabilities: open(broker.endpoint).capabilities,
    bounds,
    native,
    faults: faults({ broker, shared, links, native, open, openLink, handlesOf: (queue) => handles.of(queue) }),
    openTransport: (environment) => open(shared.endpoint, environment),
    ...(broker.authorizes ? { openWithWrongCredentials: () => openWithUnknownKey(broker) } : {}),
    uniqueName: uniqueNames(),
    removeAll: (name) => native.removeAll(name),
    async dispose() {
      native.close();
      await shared.close();
      await broker.stop();
    },
  };
}

function optionsFor({ region, credentials }: SqsBroker): SqsOptions {
  return { region, credentials, visibilitySeconds, waitSeconds, requestTimeoutMs, connectTimeoutMs: 2_000 };
}

function openWithUnknownKey(broker: SqsBroker): Transport {
  const credentials = { accessKeyId: "AKIAUNKNOWN000000000", secretAccessKey: "wrong-secret" };
  return sqs({ ...optionsFor(broker), endpoint: broker.endpoint, credentials });
}

interface FaultOptions {
  readonly broker: SqsBroker;
  readonly shared: HttpLink;
  /** All of them, the shared one included. */
  readonly links: Iterable<HttpLink>;
  readonly native: NativeSqs;
  readonly open: (endpoint: string, environment?: OpenEnvironment) => Transport;
  readonly openLink: () => Promise<HttpLink>;
  /** What was received from a queue and may be in somebody's hands. */
  readonly handlesOf: (queue: string) => Iterable<readonly string[]>;
}

const publishing = ["SendMessage", "SendMessageBatch", "Publish", "PublishBatch"];

function faults({ broker, shared, links, native, open, openLink, handlesOf }: FaultOptions): Faults {
  const power = broker.control?.isDurable === true ? broker.control : outage(links);
  let block: InjectedFault | undefined;
  return {
    async openLink() {
      const link = await openLink();
      return linkOver(link, (environment) => open(link.endpoint, environment));
    },
    closeConnections: async () => shared.end(),
    breakConsumers: (place: Place) => native.giveBack(place, handlesOf(queueName(place))),
    killBroker: () => power.kill(),
    startBroker: () => power.start(),
    blockPublishers: async () => void (block ??= shared.inject({ kind: "hold" }, { actions: publishing })),
    async unblockPublishers() {
      block?.lift();
      block = undefined;
    },
    startHangingConsumer: (job) =>
      spawnHangingConsumer({ ...optionsFor(broker), transport: "sqs", endpoint: broker.endpoint }, job),
  };
}

/** What a client sees of a kill: SQS itself loses nothing, whatever becomes of a server. For brokers that a kill would empty. */
function outage(links: Iterable<HttpLink>): Pick<ServerControl, "kill" | "start"> {
  const become = async (mode: HttpLink["mode"]): Promise<void> => {
    for (const link of links) link.mode = mode;
  };
  return { kill: () => become("down"), start: () => become("pass") };
}

function linkOver(link: HttpLink, openTransport: Link["openTransport"]): Link {
  return {
    openTransport,
    cut: async () => link.cut(),
    down: async () => void (link.mode = "down"),
    stall: async () => void (link.mode = "stall"),
    swallowAnswers: async () => void (link.mode = "deaf"),
    restore: async () => void (link.mode = "pass"),
    close: () => link.close(),
  };
}
