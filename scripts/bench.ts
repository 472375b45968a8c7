import { runNode } from "./shell.ts";

/** `npm run bench -- SCENARIO`: see `integration-tests/bench/`. */
export function bench(args: readonly string[]): Promise<number> {
  return runNode("integration-tests/bench/main.ts", args);
}
