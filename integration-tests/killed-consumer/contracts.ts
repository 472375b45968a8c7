import { queue } from "@posthorn/core";
import type { Contract } from "@posthorn/core";
import { z } from "zod";

interface Work {
  number: number;
}

export function work(name: string): Contract<"command", "queue", Work, Work> {
  return queue(name).command("work", { schema: z.object({ number: z.int() }) });
}
