import { queue } from "@posthorn/core";
import type { Contract } from "@posthorn/core";
import { z } from "zod";

export interface Numbered {
  number: number;
  padding: string;
}

/** Numbered commands of about 256 bytes. */
export function numbered(name: string): Contract<"command", "queue", Numbered, Numbered> {
  return queue(name).command("numbered", { schema: z.object({ number: z.int(), padding: z.string() }) });
}
