import { topic } from "@posthorn/core";
import type { Contract, Topic } from "@posthorn/core";
import { z } from "zod";

export interface Step {
  key: string;
  number: number;
}

/** Numbered steps of several keys on an ordered topic. */
export function steps(name: string): { channel: Topic<true>; Taken: Contract<"event", "topic", Step, Step> } {
  const channel = topic(name, { ordered: true });
  const schema = z.object({ key: z.string(), number: z.int() });
  return { channel, Taken: channel.event("step-taken", { schema, key: ({ key }) => key }) };
}
