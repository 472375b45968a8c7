import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

const packages = path.resolve(import.meta.dirname, "../packages");

/** What a file imports, by `import`, `export … from` and `import()`. */
function importsOf(file: string): readonly string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
}

function sourcesOf(name: string): readonly string[] {
  const folder = path.join(packages, name, "src");
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/\.(test|test-d|fixture)\.ts$/.test(file))
    .map((file) => path.join(folder, file));
}

const outside = (name: string): readonly string[] => [
  ...new Set(
    sourcesOf(name)
      .flatMap((file) => importsOf(file))
      .filter((specifier) => !specifier.startsWith(".")),
  ),
];

const brokerClients: Readonly<Record<string, readonly string[]>> = {
  memory: [],
  rabbitmq: ["amqplib"],
  kafka: ["kafkajs"],
  "sqs-sns": ["@aws-sdk/client-sqs", "@aws-sdk/client-sns"],
};

describe("the arrows", () => {
  test.each(Object.entries(brokerClients))(
    "%s imports the transport contract, its broker client, zod and Node, and nothing else",
    (name, clients) => {
      const allowed = new Set(["@posthorn/core/transport", "zod", ...clients]);
      const fits = (specifier: string): boolean =>
        allowed.has(specifier) ||
        specifier.startsWith("node:") ||
        clients.some((client) => specifier.startsWith(`${client}/`));
      expect(outside(name).filter((specifier) => !fits(specifier))).toEqual([]);
    },
  );

  test("one module of the Kafka adapter knows kafkajs", () => {
    const knowing = sourcesOf("kafka").filter(
      (file) => !file.endsWith(".d.ts") && importsOf(file).some((specifier) => specifier.startsWith("kafkajs/")),
    );
    expect(knowing.map((file) => path.basename(file))).toHaveLength(1);
  });

  test("one module of the SQS adapter knows the AWS SDK", () => {
    const knowing = sourcesOf("sqs-sns").filter((file) =>
      importsOf(file).some((specifier) => specifier.startsWith("@aws-sdk/")),
    );
    expect(knowing.map((file) => path.basename(file))).toEqual(["sdk.ts"]);
  });

  test("core imports nothing, not even Node", () => {
    expect(outside("core")).toEqual([]);
  });

  test("the contract tests know core, what makes random cases, and no transport", () => {
    const allowed = (specifier: string): boolean =>
      specifier.startsWith("@posthorn/core") || specifier.startsWith("node:") || specifier === "fast-check";
    expect(outside("contract-tests").filter((specifier) => !allowed(specifier))).toEqual([]);
  });

  test("the example's services know no broker: only its main does", () => {
    const folder = path.resolve(import.meta.dirname, "../docs/examples/webhooks/src");
    const knowing = readdirSync(folder).filter((file) =>
      importsOf(path.join(folder, file)).some((specifier) =>
        /@posthorn\/(memory|rabbitmq|kafka|sqs-sns)/.test(specifier),
      ),
    );
    expect(knowing).toEqual(["main.ts"]);
  });
});

test("no timer is set and no time read but through the clock", () => {
  const offenders = ["core", "memory", "rabbitmq", "kafka", "sqs-sns"].flatMap((name) =>
    sourcesOf(name).filter(
      (file) =>
        path.basename(file) !== "clock.ts" &&
        /\b(setTimeout|setInterval)\(|Date\.now\(/.test(withoutClockCalls(readFileSync(file, "utf8"))),
    ),
  );
  expect(offenders.map((file) => path.relative(packages, file))).toEqual([]);
});

/** Leaves out `clock.setTimeout(`, the clock's own method and comments. */
function withoutClockCalls(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")
    .replace(/\.setTimeout\(/g, "(")
    .replace(/^\s*(?:setTimeout|readonly setTimeout)\(callback.*$/gm, "");
}
