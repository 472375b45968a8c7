/** Making topics, at the same moment as others perhaps. */
import { abortable, PosthornError } from "@posthorn/core/transport";
import type { Asking } from "./asking.ts";
import type { BrokerConnection, TopicMetadata } from "./client.ts";
import { ConnectionFailure } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { errorClass, errorCodes, errorName } from "./errors.ts";
import type { WantedTopic } from "./topology.ts";

/** By name. */
export type Topics = ReadonlyMap<string, TopicMetadata>;

export interface TopicMakerOptions {
  readonly cluster: Cluster;
  readonly asking: Asking;
  readonly lane: string;
  /** How long the broker may take, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Makes those that do not exist. Resolves when every broker that can be asked knows them and who leads them.
 *
 * @param before what there was
 * @param made to which those are added that nobody else has made
 * @returns all of them, as they are then
 * @throws ACCESS_REFUSED, INVALID_NAME, INVALID_OPTION, TRANSPORT_FAILED; ABORTED; ConnectionFailure
 */
export type TopicMaker = (
  wanted: readonly WantedTopic[],
  before: Topics,
  made: Set<string>,
  signal: AbortSignal,
) => Promise<Topics>;

/** Or as many as there are brokers, where they are fewer. */
const defaultReplicas = 3;
const tooManyReplicas = errorCodes.INVALID_REPLICATION_FACTOR;
type CreateAnswers = Awaited<ReturnType<BrokerConnection["createTopics"]>>;
/** So many looks before they are asked for again. */
const looks = 8;

export function createTopicMaker({ cluster, asking, lane, timeoutMs }: TopicMakerOptions): TopicMaker {
  async function create(topics: readonly WantedTopic[], made: Set<string>, signal: AbortSignal): Promise<void> {
    const connection = await cluster.controller(lane, signal);
    const createWith = async (some: readonly WantedTopic[], replicas: number): Promise<CreateAnswers> => {
      const request = some.map(({ name, partitions, replicationFactor = replicas, config }) => ({
        name,
        partitions,
        replicationFactor,
        config,
      }));
      return abortable(connection.createTopics(request, timeoutMs), signal);
    };
    // Brokers that are down at the moment count, too: a topic keeps for good the replicas that it is made with.
    const answers = await createWith(topics, defaultReplicas);
    const tooMany = new Set(answers.filter(({ error }) => error === tooManyReplicas).map(({ topic }) => topic));
    const again = topics.filter(({ name, replicationFactor }) => replicationFactor === undefined && tooMany.has(name));
    const names = new Set(again.map(({ name }) => name));
    const fewer =
      again.length === 0 ? [] : await createWith(again, Math.min(defaultReplicas, Math.max(1, cluster.size)));
    for (const { topic, error, message } of [...answers.filter(({ topic }) => !names.has(topic)), ...fewer]) {
      const what = errorClass(error);
      if (error === 0) made.add(topic);
      else if (what !== "done" && what !== "retriable" && what !== "busy") throw notCreated(topic, error, message);
    }
  }

  async function areShown(names: readonly string[], signal: AbortSignal): Promise<boolean> {
    const { nodes, topics } = await abortable((await asking.any(signal)).metadata(names), signal);
    if (!haveLeaders(topics)) return false;
    const views = nodes.map(async ({ id }) => {
      const connection = await cluster.node(id, lane, signal);
      return haveLeaders((await abortable(connection.metadata(names), signal)).topics);
    });
    const seen = await Promise.allSettled(views);
    const failure = seen.find((view) => view.status === "rejected" && !(view.reason instanceof ConnectionFailure));
    if (failure?.status === "rejected") throw failure.reason;
    // A broker that is down leads nothing, and learns of it when it comes up.
    return seen.every((view) => view.status === "rejected" || view.value);
  }

  return async (wanted, before, made, signal) => {
    const missing = wanted.filter(({ name }) => !before.has(name));
    if (missing.length === 0) return before;
    const names = missing.map(({ name }) => name);
    for (let attempt = 1; ; attempt++) {
      if (attempt % looks === 1) await create(missing, made, signal);
      if (await areShown(names, signal)) {
        const all = wanted.map(({ name }) => name);
        const found = await cluster.topics(all, signal, true);
        if (all.every((name) => found.has(name))) return found;
      }
      await asking.pause(attempt, signal);
    }
  };
}

function haveLeaders(topics: readonly TopicMetadata[]): boolean {
  return topics.every(
    ({ error, partitions }) => error === 0 && partitions.length > 0 && partitions.every(({ leader }) => leader >= 0),
  );
}

/** @param message the broker's */
function notCreated(topic: string, code: number, message: string): PosthornError {
  const answer = `${errorName(code)} (${code})${message === "" ? "" : `: ${message}`}`;
  const what = `The topic ${JSON.stringify(topic)} cannot be made on Kafka`;
  const options = { details: { topic, kafkaCode: code } };
  if (errorClass(code) === "access") {
    const text = `${what}: ${answer}. Grant the account Create, or let somebody else make it and start with provision "verify".`;
    return new PosthornError("ACCESS_REFUSED", text, options);
  }
  if (code === errorCodes.INVALID_TOPIC_EXCEPTION) {
    const text = `${what}: ${answer}. Kafka takes "." and "_" for the same: give the channel or the group another name.`;
    return new PosthornError("INVALID_NAME", text, options);
  }
  const advice = optionAdvice.get(code);
  if (advice !== undefined) return new PosthornError("INVALID_OPTION", `${what}: ${answer} ${advice}`, options);
  return new PosthornError("TRANSPORT_FAILED", `${what}: ${answer}`, options);
}

const optionAdvice: ReadonlyMap<number, string> = new Map([
  [errorCodes.INVALID_REPLICATION_FACTOR, "Set replicationFactor to at most the number of brokers."],
  [errorCodes.INVALID_PARTITIONS, "Set partitions to at least 1."],
  [errorCodes.INVALID_CONFIG, "Check retentionMs, minInsyncReplicas and maxMessageBytes."],
  [
    errorCodes.POLICY_VIOLATION,
    "Set partitions, replicationFactor, retentionMs and minInsyncReplicas to what the cluster allows.",
  ],
]);
