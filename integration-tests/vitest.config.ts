import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    name: "integration",
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    exclude: ["contract/**", "**/node_modules/**"],
    testTimeout: 180_000,
    hookTimeout: 600_000,
    // What comes about comes when a busy machine gets to it: by itself a poll gives up after a second.
    expect: { poll: { timeout: 30_000 } },
    // Brokers and processes share two cores.
    fileParallelism: false,
  },
});
