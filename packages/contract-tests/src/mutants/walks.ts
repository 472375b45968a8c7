/** Bugs in looking at what waits, and in taking it away. */
import type { Message, Outbound, TransportAdmin, Verdict, Visit, WalkOptions } from "@posthorn/core/transport";
import { wrapTransport } from "../wrap-transport.ts";
import type { Mutant, Plant } from "./mutant.ts";
import { administering, mutant } from "./mutant.ts";

const never = new AbortController().signal;

/** The walk is changed. */
const walking = (change: (admin: TransportAdmin) => TransportAdmin["walk"]): Plant =>
  administering((admin) => ({ walk: change(admin) }));

const visiting = (change: (visit: Visit) => Visit): Plant =>
  walking((admin) => (source, visit, options) => admin.walk(source, change(visit), options));

const verdict = (change: (given: Verdict) => Verdict): Plant =>
  visiting((visit) => async (message) => change(await visit(message)));

const walkOptions = (change: (options: WalkOptions) => WalkOptions): Plant =>
  walking((admin) => (source, visit, options) => admin.walk(source, visit, change(options)));

/** The newest first. */
const backwards: Plant = walking((admin) => async (source, visit, options) => {
  const messages: Message[] = [];
  const look = async (message: Message): Promise<Verdict> => {
    messages.push(message);
    return "keep";
  };
  await admin.walk(source, look, { ...options, limit: Number.MAX_SAFE_INTEGER });
  const verdicts = new Map<string, Verdict>();
  for (const message of messages.toReversed().slice(0, options.limit)) {
    const given = await visit(message);
    verdicts.set(message.id, given);
    if (given === "stop") break;
  }
  const apply = async ({ id }: Message): Promise<Verdict> => (verdicts.get(id) === "remove" ? "remove" : "keep");
  await admin.walk(source, apply, options);
});

/** Takes out what it visits, and puts back what is kept: at the end of the line, and not at all when it is interrupted. */
const takingOut: Plant = (inner) =>
  wrapTransport(inner, {
    admin: {
      depth: (source, options) => inner.admin.depth(source, options),
      purge: (source, options) => inner.admin.purge(source, options),
      async walk(source, visit, options) {
        const taken: Message[] = [];
        const take = async (message: Message): Promise<Verdict> => {
          taken.push(message);
          return "remove";
        };
        await inner.admin.walk(source, take, options);
        const kept: Outbound[] = [];
        let ended = false;
        for (const message of taken) {
          const given: Verdict = ended ? "keep" : await visit(message);
          options.signal.throwIfAborted();
          if (given !== "remove") kept.push({ address: source, message });
          ended ||= given === "stop";
        }
        for (const each of kept) await inner.dispatch([each], { signal: never });
      },
    },
  });

export const walkMutants: readonly Mutant[] = [
  mutant(
    "Browsing consumes.",
    ["H5", "H6q"],
    walking((admin) => async (source, visit, options) => {
      await admin.walk(source, visit, options);
      await admin.purge(source, options);
    }),
  ),
  mutant(
    "The depth is always 0.",
    ["H5", "H6q"],
    administering(() => ({ depth: async () => ({ ready: 0, inFlight: 0, oldestAgeMs: undefined }) })),
  ),
  mutant(
    "Purging removes nothing.",
    ["H5"],
    administering(() => ({ purge: async () => 5 })),
  ),
  mutant(
    "A walk removes what is kept.",
    ["H5", "H6", "H4n"],
    verdict((given) => (given === "keep" ? "remove" : given)),
  ),
  mutant(
    "A walk keeps what is removed.",
    ["H6", "H4", "H5p"],
    verdict((given) => (given === "remove" ? "keep" : given)),
  ),
  mutant(
    "A walk does not stop.",
    ["H6s"],
    verdict((given) => (given === "stop" ? "keep" : given)),
  ),
  mutant(
    "A walk removes the one that says stop.",
    ["H6s", "H5"],
    walking((admin) => async (source, visit, options) => {
      let over = false;
      const wrong: Visit = async (message) => {
        if (over) return "stop";
        const given = await visit(message);
        over = given === "stop";
        return over ? "remove" : given;
      };
      await admin.walk(source, wrong, options);
    }),
  ),
  mutant(
    "A walk ignores its limit.",
    ["H6s"],
    walkOptions((options) => ({ ...options, limit: 1_000_000 })),
  ),
  mutant(
    "A walk has one visit more pending than allowed.",
    ["H6p"],
    walkOptions((options) => ({ ...options, maxPending: options.maxPending + 1 })),
  ),
  mutant(
    "A walk has one visit pending at a time, whatever is allowed.",
    ["H6p"],
    walkOptions((options) => ({ ...options, maxPending: 1 })),
  ),
  mutant(
    "A walk visits everything twice.",
    ["H6", "H5f"],
    visiting((visit) => async (message) => {
      const given = await visit(message);
      return given === "stop" ? given : visit(message);
    }),
  ),
  mutant("A walk begins with the newest.", ["H6", "H6s"], backwards),
  mutant(
    "A visit that rejects counts as one that keeps.",
    ["H6r"],
    visiting((visit) => (message) => visit(message).catch((): Verdict => "keep")),
  ),
  mutant(
    "A walk cannot be given up.",
    ["H6a"],
    walkOptions((options) => ({ ...options, signal: never })),
  ),
  mutant("A walk holds everything in its own memory until it has ended.", ["H6a", "H6r", "H6s"], takingOut),
];
