import { defineConfig } from "vitest/config";

const root = import.meta.dirname;

export default defineConfig({
  test: {
    root,
    reporters: ["default", new URL("./reporter.ts", import.meta.url).pathname],
    projects: [
      { test: { name: "contract-memory", root, include: ["memory.test.ts"], maxConcurrency: 20, pool: "forks" } },
      { test: { name: "contract-rabbitmq", root, include: ["rabbitmq.test.ts"], maxConcurrency: 6, pool: "forks" } },
      { test: { name: "contract-kafka", root, include: ["kafka.test.ts"], maxConcurrency: 6, pool: "forks" } },
      { test: { name: "contract-sqs", root, include: ["sqs*.test.ts"], maxConcurrency: 6, pool: "forks" } },
      { test: { name: "contract-mutants", root, include: ["mutants.test.ts"], maxConcurrency: 12, pool: "forks" } },
    ],
  },
});
