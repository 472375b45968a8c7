import { randomBytes } from "node:crypto";
import type { KafkaLink } from "./broker.ts";

/** The ports that one Kafka listens on. */
export interface KafkaPorts {
  readonly plain: number;
  readonly secured: number;
  readonly controller: number;
  readonly links: readonly KafkaLink[];
}

const linkCount = 8;

/** How many free ports one of several brokers takes: nobody needs proxies for it. */
export const kafkaMemberPortCount = 3;

/** How many free ports `kafkaPorts` wants. */
export const kafkaPortCount: number = kafkaMemberPortCount + 2 * linkCount;

/** @param count of the links */
export function kafkaPorts(free: readonly number[], count: number = linkCount): KafkaPorts {
  const wanted = kafkaMemberPortCount + 2 * count;
  if (free.length !== wanted) throw new Error(`a Kafka takes ${wanted} ports, not ${free.length}`);
  const [plain = 0, secured = 0, controller = 0, ...rest] = free;
  const links = Array.from({ length: count }, (_, index) => {
    const [listenPort = 0, advertisedPort = 0] = rest.slice(2 * index);
    return { listenPort, advertisedPort };
  });
  return { plain, secured, controller, links };
}

/** The user of the secured listener, whatever the mechanism. */
export const kafkaUser = { username: "posthorn", password: "posthorn-secret" } as const;

/** Another one, by PLAIN alone, who may do nothing before somebody grants it. */
export const limitedUser = { username: "limited", password: "limited-secret" } as const;

/** The id of a broker that is alone, and that of one that exists in name only (see kafka-publishers.ts). */
export const brokerId = 1;
export const absentBrokerId = 1000;

export interface KafkaPlace {
  readonly ports: KafkaPorts;
  /** The address that its listeners bind to. */
  readonly bind: string;
  /** The host under which clients reach it; for links that is 127.0.0.1, where their proxies are. */
  readonly host: string;
  /** Where it keeps its data. */
  readonly data: string;
  /** A file with its private key and certificate, PEM. */
  readonly keystore: string;
  /** Of a cluster of several; by default it is all there is. */
  readonly membership?: KafkaMembership;
}

export interface KafkaMembership {
  readonly id: number;
  /** Where the controller of each node listens, its own too. */
  readonly controllers: readonly { readonly id: number; readonly port: number }[];
}

/** The content of its `server.properties`: a node that is broker and controller, modest, and quick to start again. */
export function kafkaConfiguration({ ports, bind, host, data, keystore, membership }: KafkaPlace): string {
  const { id, controllers } = membership ?? { id: brokerId, controllers: [{ id: brokerId, port: ports.controller }] };
  const replicas = Math.min(controllers.length, 3);
  const inSync = Math.max(replicas - 1, 1);
  const listeners = [
    { name: "PLAIN", port: ports.plain, advertised: `${host}:${ports.plain}`, protocol: "PLAINTEXT" },
    { name: "SECURED", port: ports.secured, advertised: `${host}:${ports.secured}`, protocol: "SASL_SSL" },
    ...ports.links.map(({ listenPort, advertisedPort }, index) => ({
      name: `LINK${index}`,
      port: listenPort,
      advertised: `127.0.0.1:${advertisedPort}`,
      protocol: "PLAINTEXT",
    })),
  ];
  const controller = { name: "CONTROLLER", port: ports.controller, protocol: "PLAINTEXT" };
  const bound = [...listeners, controller];
  return lines({
    "process.roles": "broker,controller",
    "node.id": id,
    "controller.quorum.voters": controllers.map(({ id: voter, port }) => `${voter}@127.0.0.1:${port}`).join(),
    "controller.listener.names": controller.name,
    "inter.broker.listener.name": "PLAIN",
    listeners: bound.map(({ name, port }) => `${name}://${bind}:${port}`).join(),
    "advertised.listeners": listeners.map(({ name, advertised }) => `${name}://${advertised}`).join(),
    "listener.security.protocol.map": bound.map(({ name, protocol }) => `${name}:${protocol}`).join(),
    ...security(keystore),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": `User:ANONYMOUS;User:${kafkaUser.username}`,
    "log.dirs": data,

    "default.replication.factor": replicas,
    "min.insync.replicas": inSync,
    "offsets.topic.replication.factor": replicas,
    "transaction.state.log.replication.factor": replicas,
    "transaction.state.log.min.isr": inSync,
    "share.coordinator.state.topic.replication.factor": replicas,
    "share.coordinator.state.topic.min.isr": inSync,
    // Enough to see that there are several.
    "offsets.topic.num.partitions": coordinatorPartitions,
    // What was deleted lies there for a minute by default, and is looked through after a kill.
    "log.segment.delete.delay.ms": 1_000,
    "transaction.state.log.num.partitions": 3,

    "auto.create.topics.enable": false,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    // A broker that is started again waits for the end of the session it had.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 500,
    // Threads are per listener.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.cleaner.dedupe.buffer.size": 8 << 20, // 128 MB by default, taken at once
  });
}

/** The partitions of the topic of offsets: as many coordinators are there. */
export const coordinatorPartitions = 3;

function security(keystore: string): Record<string, string> {
  const { username, password } = kafkaUser;
  const modules = "org.apache.kafka.common.security";
  const prefix = "listener.name.secured";
  return {
    [`${prefix}.ssl.keystore.type`]: "PEM",
    [`${prefix}.ssl.keystore.location`]: keystore,
    [`${prefix}.sasl.enabled.mechanisms`]: "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    [`${prefix}.plain.sasl.jaas.config`]: `${modules}.plain.PlainLoginModule required user_${username}="${password}" user_${limitedUser.username}="${limitedUser.password}";`,
    [`${prefix}.scram-sha-256.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    [`${prefix}.scram-sha-512.sasl.jaas.config`]: `${modules}.scram.ScramLoginModule required;`,
    [`${prefix}.oauthbearer.sasl.jaas.config`]: `${modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    [`${prefix}.oauthbearer.sasl.server.callback.handler.class`]: `${modules}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
  };
}

/** What StorageTool is called with to make the data folder, and the SCRAM users in it. */
export function formatArguments(clusterId: string, configuration: string): string[] {
  const { username, password } = kafkaUser;
  const users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => [
    "--add-scram",
    `${mechanism}=[name=${username},password=${password}]`,
  ]);
  return ["format", "--cluster-id", clusterId, "--config", configuration, ...users];
}

/** A new name of a cluster, as Kafka makes them. StorageTool takes one that begins with "-" for an option. */
export function newClusterId(): string {
  return randomBytes(16).toString("base64url").replace(/^-/, "_");
}

function lines(properties: Readonly<Record<string, string | number | boolean>>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}
