import { existsSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KafkaBroker, KafkaVersion } from "./broker.ts";
import { selfSignedCertificate } from "./certificate.ts";
import { kafkaBroker } from "./kafka-broker.ts";
import { kafkaLibraries } from "./kafka-libraries.ts";
import { awaitKafka } from "./kafka-ready.ts";
import {
  formatArguments,
  kafkaConfiguration,
  type KafkaMembership,
  kafkaPortCount,
  kafkaPorts,
  type KafkaPorts,
  newClusterId,
} from "./kafka-settings.ts";
import { type NativeOptions, type NativeServer, nativeServer } from "./native-server.ts";
import { onFreePorts } from "./ports.ts";
import { openRoomWithScratch, type Room } from "./room.ts";
import { run } from "./run.ts";
import { ensureTool } from "./tools.ts";

// The processes of the room have numbers of their own, which are to be found in /proc.
const mounts = "mount -t proc proc /proc";

/**
 * Starts a Kafka as a process of this machine, on free ports of the loopback address.
 *
 * @throws Error that says why it cannot be had here; with the last lines of the broker's log when it does not start.
 */
export async function startNativeKafka(version: KafkaVersion, options: NativeOptions): Promise<KafkaBroker> {
  return start(await nativeKafka(version, options), options.signal);
}

/** What native brokers run on. */
export interface KafkaSoftware {
  readonly java: string;
  readonly classpath: string;
  readonly openssl: string;
  readonly javaOptions: readonly string[];
}

/** @throws Error that says why native brokers cannot be had here */
export async function nativeKafka(version: KafkaVersion, options: NativeOptions): Promise<KafkaSoftware> {
  if (process.platform !== "linux") {
    throw new Error(`native brokers run in namespaces of Linux, and this is ${process.platform}`);
  }
  const libraries = await kafkaLibraries(version, options);
  const java = await ensureTool("java", options);
  const openssl = await ensureTool("openssl", options);
  const software = { classpath: join(libraries, "*"), java, openssl };
  const archive = `${libraries}.jsa`;
  if (!existsSync(archive)) {
    options.log(`keeping the classes of Kafka ${version} in ${archive}, once`);
    await archiveClasses(archive, software, options.signal);
  }
  return { ...software, javaOptions: [`-XX:SharedArchiveFile=${archive}`] };
}

/** Keeps the classes that a broker has loaded, as they are in memory: that halves the work of every later start. */
async function archiveClasses(
  archive: string,
  software: Omit<KafkaSoftware, "javaOptions">,
  signal: AbortSignal | undefined,
): Promise<void> {
  const folder = await mkdtemp(`${archive}.`);
  try {
    const made = join(folder, "archive");
    await using broker = await start({ ...software, javaOptions: [`-XX:ArchiveClassesAtExit=${made}`] }, signal);
    await broker.control?.shutDown();
    await rename(made, archive);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function start(software: KafkaSoftware, signal: AbortSignal | undefined): Promise<KafkaBroker> {
  return onFreePorts(kafkaPortCount, (free) => startOn(kafkaPorts(free), software, signal));
}

async function startOn(
  ports: KafkaPorts,
  software: KafkaSoftware,
  signal: AbortSignal | undefined,
): Promise<KafkaBroker> {
  const clusterId = newClusterId();
  const address = { host: "127.0.0.1", port: ports.plain };
  const { room, server, cert } = await equipNode({
    ports,
    software,
    clusterId,
    heapMb: 512,
    awaitReady: (until) => awaitKafka(address, { deadlineMs: 30_000, signal: until }),
    signal,
  });
  try {
    await server.start(signal);
    return await kafkaBroker({
      origin: "native",
      host: "127.0.0.1",
      ports,
      cert,
      clusterId,
      control: server,
      stop: () => room.close(),
    });
  } catch (error) {
    await room.close();
    throw error;
  }
}

export interface NodeOptions {
  readonly ports: KafkaPorts;
  readonly software: KafkaSoftware;
  readonly clusterId: string;
  /** By default it is all there is. */
  readonly membership?: KafkaMembership;
  readonly heapMb: number;
  /** As `NativeServerOptions` say. */
  readonly awaitReady: (signal?: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

/** A node that was not started yet. */
export interface EquippedNode {
  /** Everything of the node ends with it. */
  readonly room: Room;
  readonly server: NativeServer;
  /** The certificate of its secured listener. */
  readonly cert: string;
}

/** Makes a node's room, and in it its settings and data. */
export async function equipNode(options: NodeOptions): Promise<EquippedNode> {
  const { ports, software, clusterId, membership, heapMb, awaitReady, signal } = options;
  const { key, cert } = await selfSignedCertificate(software.openssl);
  const { room, scratch } = await openRoomWithScratch("kafka", async (scratch) => {
    const keystore = join(scratch, "keystore.pem");
    const data = join(scratch, "data");
    await writeFile(keystore, key + cert, { mode: 0o600 });
    const place = { ports, bind: "127.0.0.1", host: "127.0.0.1", data, keystore };
    const configuration = kafkaConfiguration(membership === undefined ? place : { ...place, membership });
    await writeFile(join(scratch, "server.properties"), configuration);
    return [mounts];
  });

  try {
    const java = (...args: string[]): [string, ...string[]] => [
      software.java,
      ...javaOptions(scratch, heapMb),
      ...software.javaOptions,
      "-cp",
      software.classpath,
      ...args,
    ];
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8", HOME: scratch };
    const configuration = join(scratch, "server.properties");
    const format = java("kafka.tools.StorageTool", ...formatArguments(clusterId, configuration));
    await run(room.enter(...format), { name: "StorageTool", env, signal });

    const pidFile = join(scratch, "pid");
    const server = nativeServer({
      room,
      inside: room.enter,
      command: ["sh", "-c", '"$@" & echo $! >"$0"; wait $!', pidFile, ...java("kafka.Kafka", configuration)],
      pidFile,
      env,
      log: join(scratch, "log"),
      readyText: "Kafka Server started",
      awaitReady,
    });
    return { room, server, cert };
  } catch (error) {
    await room.close();
    throw error;
  }
}

function javaOptions(scratch: string, heapMb: number): string[] {
  return [
    `-Xmx${heapMb}m`,
    "-XX:+UseSerialGC",
    "-XX:ActiveProcessorCount=2", // a broker beside a test run must not eat its processors
    "-XX:-UsePerfData",
    `-Djava.io.tmpdir=${scratch}`,
    // What is written at the end of a log should be why it ended.
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
  ];
}
