import type { Transport } from "@posthorn/core";
import type { Bounds, ContractHarness, Faults, Link, OpenEnvironment, Place } from "@posthorn/contract-tests";
import type { KafkaOptions } from "@posthorn/kafka";
import { kafka } from "@posthorn/kafka";
import { Kafka, logLevel } from "kafkajs";
import type { KafkaBroker, KafkaControl, KafkaLink, SecuredKafka } from "../brokers/broker.ts";
import { spawnHangingConsumer } from "./hanging-consumer-process.ts";
import { onCluster } from "./kafka-logs.ts";
import { groupName, nativeKafka } from "./kafka-native.ts";
import type { TcpLink } from "./tcp-link.ts";
import { openTcpLink } from "./tcp-link.ts";
import { uniqueNames } from "./unique-names.ts";

const sessionTimeoutMs = 3_000;
const requestTimeoutMs = 2_000;

/** Few partitions, so that much is behind something else. */
const options = { sessionTimeoutMs, requestTimeoutMs, connectTimeoutMs: 2_000, partitions: 4 } satisfies KafkaOptions;

const bounds: Bounds = {
  patienceMs: 10_000,
  redeliveryMs: sessionTimeoutMs + 7_000,
  resumeMs: 20_000,
  detectMs: requestTimeoutMs + 6_000,
  leaseMs: sessionTimeoutMs,
  delayToleranceMs: 2_000,
  backlog: 5_000,
};

export async function kafkaHarness(broker: KafkaBroker): Promise<ContractHarness> {
  const links = createLinks(broker);
  // What everybody uses who has no link of his own: a broker does not end connections when an operator says so, a proxy does.
  const shared = broker.links.length === 0 ? undefined : await links.open();
  const brokers = shared?.brokers ?? broker.brokers;
  const { secured } = broker;
  const native = nativeKafka(broker.brokers);
  return {
    name: `kafka ${broker.version}`,
    capabilities: open(brokers).capabilities,
    bounds,
    native,
    faults: kafkaFaults(broker, links),
    openTransport: (environment) => open(brokers, environment),
    ...(secured === undefined ? {} : { openWithWrongCredentials: () => openWithWrongPassword(secured) }),
    uniqueName: uniqueNames(),
    // After a kill Kafka looks through every log that it has, which takes longer than any case would wait.
    removeAll: (name) => native.deleteTopics(name),
    async dispose() {
      await links.close();
      await broker.stop();
    },
  };
}

function open(brokers: readonly string[], environment: OpenEnvironment = {}): Transport {
  return kafka({ ...options, brokers }, environment);
}

function openWithWrongPassword({ brokers, ca, username }: SecuredKafka): Transport {
  return kafka({ ...options, brokers, tls: { ca }, sasl: { mechanism: "plain", username, password: "wrong-secret" } });
}

function kafkaFaults(broker: KafkaBroker, links: Links): Faults {
  const control = broker.control ?? noControl(broker);
  return {
    openLink: async () => linkOver(await links.open()),
    closeConnections: async () => links.end(),
    breakConsumers: (place) => removeMembers(broker.brokers, place),
    killBroker: () => control.kill(),
    startBroker: () => control.start(),
    blockPublishers: () => control.blockPublishers(),
    unblockPublishers: () => control.unblockPublishers(),
    startHangingConsumer: (job) =>
      spawnHangingConsumer({ transport: "kafka", ...options, brokers: broker.brokers }, job),
  };
}

/** A broker that was given by its address can be used, and not be hurt. */
function noControl({ url }: KafkaBroker): KafkaControl {
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(
        `The broker at ${url} was not started by the tests: it cannot be hurt, and the cases that need it fail.`,
      ),
    );
  return {
    kill: refuse,
    shutDown: refuse,
    start: refuse,
    pause: refuse,
    resume: refuse,
    blockPublishers: refuse,
    unblockPublishers: refuse,
  };
}

/** As an operator does with `Admin.removeMembersFromConsumerGroup`: the group forgets its members, who are not asked. */
async function removeMembers(brokers: readonly string[], place: Place): Promise<void> {
  const groupId = groupName(place);
  await onCluster(new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }), async (cluster) => {
    const coordinator = await cluster.findGroupCoordinator({ groupId });
    const { groups } = (await coordinator.describeGroups({ groupIds: [groupId] })) as DescribedGroups;
    const { leaveGroup } = coordinator as unknown as { leaveGroup: LeaveGroup };
    for (const { memberId } of groups.flatMap(({ members }) => members))
      await leaveGroup.call(coordinator, { groupId, memberId });
  });
}

/** Of kafkajs's broker, what its types leave out. */
interface DescribedGroups {
  readonly groups: readonly { readonly members: readonly { readonly memberId: string }[] }[];
}
type LeaveGroup = (member: { readonly groupId: string; readonly memberId: string }) => Promise<unknown>;

interface OpenedLink {
  readonly tcp: TcpLink;
  readonly brokers: readonly string[];
  close(): Promise<void>;
}

interface Links {
  open(): Promise<OpenedLink>;
  /** Ends all connections of all links in good order. */
  end(): void;
  close(): Promise<void>;
}

/** The broker's other ways in, each with a proxy before it, and lent to one at a time. */
function createLinks(broker: KafkaBroker): Links {
  const free: KafkaLink[] = [...broker.links];
  const opened = new Set<OpenedLink>();
  return {
    async open() {
      const link = free.shift();
      if (link === undefined)
        throw new Error(`All ${broker.links.length} links of the broker at ${broker.url} are in use.`);
      const { listenPort, advertisedPort } = link;
      const tcp = await openTcpLink({ host: "127.0.0.1", port: listenPort }, advertisedPort);
      const own: OpenedLink = {
        tcp,
        brokers: [`127.0.0.1:${advertisedPort}`],
        async close() {
          await tcp.close();
          if (opened.delete(own)) free.push(link);
        },
      };
      opened.add(own);
      return own;
    },
    end() {
      for (const { tcp } of opened) tcp.end();
    },
    async close() {
      await Promise.all([...opened].map((link) => link.close()));
    },
  };
}

function linkOver(link: OpenedLink): Link {
  const { tcp, brokers } = link;
  return {
    openTransport: (environment) => open(brokers, environment),
    cut: async () => tcp.cut(),
    down: async () => void (tcp.mode = "down"),
    stall: async () => void (tcp.mode = "stall"),
    swallowAnswers: async () => void (tcp.mode = "deaf"),
    restore: async () => void (tcp.mode = "pass"),
    close: () => link.close(),
  };
}
