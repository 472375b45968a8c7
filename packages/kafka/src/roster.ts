/** Which brokers there are, and which of them have not answered lately. */
import type { ClusterMetadata, Endpoint } from "./client.ts";
import { addressOf } from "./lanes.ts";

export interface Roster {
  /** How many brokers the cluster has. */
  readonly size: number;
  endpoint(id: number): Endpoint | undefined;
  /** Whether it is one of the cluster's, and did not fail to answer lately. */
  answers(id: number): boolean;
  /** Every endpoint once: first who answered last, at the end who is silent, the longest first. */
  inTurn(): readonly Endpoint[];
  isSilent(address: string): boolean;
  setSilent(address: string): void;
  setSound(address: string): void;
  setAnswered(address: string): void;
  /**
   * What a broker says of the cluster.
   *
   * @returns addresses of brokers that are gone
   */
  learn(nodes: ClusterMetadata["nodes"]): ReadonlySet<string>;
}

/** @param seeds where a broker may be found before any is known, and when all that are known are gone */
export function createRoster(seeds: readonly Endpoint[]): Roster {
  /** By id. */
  let nodes: ReadonlyMap<number, Endpoint> = new Map();
  const silent = new Set<string>();
  let answeredLast = "";

  return {
    get size() {
      return nodes.size;
    },
    endpoint: (id) => nodes.get(id),
    answers(id) {
      const endpoint = nodes.get(id);
      return endpoint !== undefined && !silent.has(addressOf(endpoint));
    },
    inTurn() {
      const all = new Map([...nodes.values(), ...seeds].map((endpoint) => [addressOf(endpoint), endpoint]));
      const sound = [answeredLast, ...all.keys()].filter((address) => !silent.has(address));
      return [...new Set([...sound, ...silent])]
        .map((address) => all.get(address))
        .filter((endpoint) => endpoint !== undefined);
    },
    isSilent: (address) => silent.has(address),
    setSilent(address) {
      silent.delete(address);
      silent.add(address);
    },
    setSound: (address) => void silent.delete(address),
    setAnswered: (address) => void (answeredLast = address),
    learn(answer) {
      const gone = new Set(Array.from(nodes.values(), addressOf));
      nodes = new Map(answer.map((node) => [node.id, node]));
      for (const endpoint of nodes.values()) gone.delete(addressOf(endpoint));
      for (const address of gone) silent.delete(address);
      return gone;
    },
  };
}
