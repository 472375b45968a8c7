/**
 * What things are called on SQS and SNS: at most 80 characters of letters, digits, `-` and `_`, with `.fifo` at the end where they
 * are ordered.
 *
 * `orders`, `orders__dlq` and `orders__delay` of a queue, `order-events` of a topic, `order-events--billing` (`…__dlq`, `…__delay`) of its
 * group. A name of Posthorn's may itself hold such joints, or be too long. What is made of it is then its beginning, `__` and a
 * hash of all of it. After `__` others have `dlq`, `delay` or nothing, so no two things ever have one name.
 */
import { createHash } from "node:crypto";
import type { ChannelInfo } from "@posthorn/core/transport";
import type { Settings } from "./options.ts";

export interface Names {
  /** Of a channel's topic on SNS. */
  readonly topic: (channel: ChannelInfo) => string;
  /** Of the queue that a group consumes. A queue channel has one group, which is called after it. */
  readonly queue: (channel: ChannelInfo, group: string) => string;
  readonly deadLetters: (channel: ChannelInfo, group: string) => string;
  /** Of the queue in which messages of an ordered inlet wait for their time. It is not ordered itself. */
  readonly delay: (channel: ChannelInfo, group: string) => string;
}

const longest = 80;
const fifo = ".fifo";
const deadLetters = "__dlq";
const delay = "__delay";
/** What stands before the ends that any of them may have. */
const longestBase = longest - delay.length - fifo.length;
const hashLength = 20;

/** @param settings its prefix stands before every name; at most 40 characters */
export function namesOf({ prefix }: Pick<Settings, "prefix">): Names {
  const base = (plain: string, isPlain: boolean, identity: readonly string[]): string => {
    if (isPlain && prefix.length + plain.length <= longestBase) return prefix + plain;
    const hash = createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, hashLength);
    return `${(prefix + plain).slice(0, longestBase - 2 - hashLength)}__${hash}`;
  };
  const topicBase = ({ name }: ChannelInfo): string => base(name, hasNoJoint(name), ["topic", name]);
  const groupBase = (channel: ChannelInfo, group: string): string => {
    const { kind, name } = channel;
    if (kind === "queue") return base(name, hasNoJoint(name), ["queue", name]);
    return base(`${name}--${group}`, hasNoJoint(name) && hasNoJoint(group), ["group", name, group]);
  };
  const end = ({ ordered }: ChannelInfo): string => (ordered ? fifo : "");
  return {
    topic: (channel) => topicBase(channel) + end(channel),
    queue: (channel, group) => groupBase(channel, group) + end(channel),
    deadLetters: (channel, group) => groupBase(channel, group) + deadLetters + end(channel),
    delay: (channel, group) => groupBase(channel, group) + delay,
  };
}

/** Nor does one come to be where it is joined to something. It begins with a letter or digit. */
function hasNoJoint(name: string): boolean {
  return !/--|__|[-_]$/.test(name);
}
