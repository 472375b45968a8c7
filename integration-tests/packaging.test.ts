import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "..");
const pnpm = path.join(root, "node_modules", ".bin", "pnpm");
const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");

let folder: string;

interface Packed {
  readonly tarball: string;
  readonly files: readonly string[];
}

/** What npm would publish. */
async function pack(name: string, into: string): Promise<Packed> {
  const { stdout } = await run(pnpm, ["pack", "--json", "--pack-destination", into], {
    cwd: path.join(root, "packages", name),
  });
  const { filename, files } = JSON.parse(stdout) as {
    readonly filename: string;
    readonly files: readonly { readonly path: string }[];
  };
  return { tarball: path.resolve(into, filename), files: files.map((file) => file.path) };
}

/** As an application does that uses the packages; resolves to its folder. */
async function install(...names: readonly string[]): Promise<string> {
  const into = await mkdtemp(path.join(tmpdir(), "posthorn-packaging-"));
  const dependencies: Record<string, string> = {};
  for (const name of ["core", ...names]) dependencies[`@posthorn/${name}`] = `file:${(await pack(name, into)).tarball}`;
  await writeFile(
    path.join(into, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies,
      overrides: { "@posthorn/core": dependencies["@posthorn/core"] },
    }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: into });
  return into;
}

/** Everything that an application's installation brought, however deep. */
async function installed(into: string): Promise<readonly string[]> {
  const { stdout } = await run("npm", ["ls", "--all", "--json"], { cwd: into });
  const names = new Set<string>();
  const collect = (node: { dependencies?: Record<string, object> }): void => {
    for (const [name, child] of Object.entries(node.dependencies ?? {})) {
      names.add(name);
      collect(child);
    }
  };
  collect(JSON.parse(stdout) as object);
  return [...names].toSorted();
}

/** With every library checked. @returns what the compiler says: nothing, if all is well */
async function compile(into: string, types: readonly "node"[] = []): Promise<string> {
  const compilerOptions = {
    strict: true,
    skipLibCheck: false,
    module: "nodenext",
    target: "es2024",
    lib: ["es2024", "dom", "esnext.disposable"],
    declaration: true,
    outDir: "out",
    types,
    typeRoots: [path.join(root, "node_modules", "@types")],
  };
  await writeFile(path.join(into, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["main.ts"] }));
  const { stdout } = await run(process.execPath, [tsc, "-p", into]).catch(
    (error: unknown) => error as { stdout: string },
  );
  return stdout;
}

beforeAll(async () => {
  folder = await install("memory");
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("what is packed", () => {
  let into: string;
  beforeAll(async () => {
    into = await mkdtemp(path.join(tmpdir(), "posthorn-packed-"));
  });
  afterAll(() => rm(into, { recursive: true, force: true }));

  test.each(["core", "memory", "rabbitmq", "kafka", "sqs-sns", "contract-tests"])(
    "of %s is its code and what that was made of, and nothing of its tests",
    async (name) => {
      const { files } = await pack(name, into);
      expect(files).toEqual(expect.arrayContaining(["package.json", "README.md", "dist/index.js", "dist/index.d.ts"]));
      const isForeign = (file: string): boolean => {
        if (["package.json", "README.md", "LICENSE"].includes(file)) return false;
        if (/\.(?:test|test-d|fixture)\./.test(file)) return true;
        const made = /^dist\/(.+?)\.(?:js|d\.ts)(?:\.map)?$/.exec(file)?.[1];
        return made === undefined ? !/^src\/.+\.ts$/.test(file) : !files.includes(`src/${made}.ts`);
      };
      expect(files.filter(isForeign)).toEqual([]);
    },
  );
});

test("core has no runtime dependency", async () => {
  const manifest = JSON.parse(
    await readFile(path.join(folder, "node_modules/@posthorn/core/package.json"), "utf8"),
  ) as Record<string, unknown>;
  expect(manifest["dependencies"]).toBeUndefined();
  expect(manifest["peerDependencies"]).toBeUndefined();
  expect(manifest["engines"]).toEqual({ node: ">=22.12" });
});

test("installing core and memory brings no broker client", async () => {
  expect(await installed(folder)).toEqual(["@posthorn/core", "@posthorn/memory", "zod"]);
});

test("core's declarations mention no schema library", async () => {
  const dist = path.join(folder, "node_modules/@posthorn/core/dist");
  for (const file of await readdir(dist)) {
    if (!file.endsWith(".d.ts")) continue;
    const imports = [...(await readFile(path.join(dist, file), "utf8")).matchAll(/from "([^"]+)"/g)].map(
      (match) => match[1],
    );
    expect(
      imports.filter((specifier) => specifier?.startsWith(".") !== true),
      file,
    ).toEqual([]);
  }
});

test("what is published compiles with every library checked, and so do an application's declarations, without the schema library", async () => {
  await writeFile(
    path.join(folder, "contracts.ts"),
    `import { queue, topic } from "@posthorn/core";
import { z } from "zod";
export const orders = queue("orders");
export const PlaceOrder = orders.command("place-order", { schema: z.object({ sku: z.string(), at: z.iso.datetime().transform((t) => new Date(t)) }) });
export const OrderPlaced = topic("order-events").event("order-placed", { schema: z.object({ sku: z.string() }) });
`,
  );
  await writeFile(
    path.join(folder, "main.ts"),
    `import { createBus, openTransport } from "@posthorn/core";
import { createVirtualClock } from "@posthorn/core/testing";
import type { Transport } from "@posthorn/core/transport";
import { PlaceOrder } from "./contracts.js";
const transport: Transport = await openTransport("memory:", { memory: () => import("@posthorn/memory") });
const bus = createBus({ service: "shop", transport, clock: createVirtualClock() });
bus.handle(PlaceOrder, (order) => order.data.at.getTime());
export const sent = bus.send(PlaceOrder, { sku: "a", at: "2026-01-01T00:00:00Z" });
`,
  );
  expect(await compile(folder)).toBe("");
  expect(await readFile(path.join(folder, "out/contracts.d.ts"), "utf8")).not.toMatch(/zod/);
});

test("contracts can be imported where there is no Node", async () => {
  // A context without process, Buffer or any module: as a browser or an edge runtime would be.
  const program = `
    import vm from "node:vm"; import { readFile } from "node:fs/promises"; import path from "node:path";
    const context = vm.createContext({ console, crypto, TextEncoder, TextDecoder, AbortController, AbortSignal, Uint8Array });
    const modules = new Map();
    const read = async (file) => new vm.SourceTextModule(await readFile(file, "utf8"), { context, identifier: file });
    const load = (file) => modules.get(file) ?? modules.set(file, read(file)).get(file);
    const core = await load(path.resolve("node_modules/@posthorn/core/dist/index.js"));
    await core.link((specifier, from) => {
      if (!specifier.startsWith(".")) throw new Error("imports " + specifier);
      return load(path.resolve(path.dirname(from.identifier), specifier));
    });
    await core.evaluate();
    console.log(core.namespace.queue("orders").command("c", { codec: core.namespace.bytes }).id);`;
  const { stdout } = await run(
    process.execPath,
    ["--experimental-vm-modules", "--no-warnings", "--input-type=module", "--eval", program],
    { cwd: folder },
  );
  expect(stdout.trim()).toBe("queue:orders:c:1");
});

interface Adapter {
  readonly name: string;
  readonly client: string;
  readonly url: string;
  /** What an application may take from it, beside `createTransport`. */
  readonly sample: string;
  /** What its declarations know beside the language. */
  readonly types: readonly "node"[];
}

const adapters: readonly Adapter[] = [
  {
    name: "rabbitmq",
    client: "amqplib",
    url: "amqp://localhost",
    sample: `import { rabbitmq, type RabbitmqOptions } from "@posthorn/rabbitmq";
const options: RabbitmqOptions = { hostname: "localhost", tls: { ca: "" } };
export const transport: Transport = rabbitmq(options);`,
    types: [],
  },
  {
    name: "kafka",
    client: "kafkajs",
    url: "kafka://localhost",
    sample: `import { kafka, type KafkaOptions } from "@posthorn/kafka";
const options: KafkaOptions = { brokers: ["localhost"], tls: { ca: "" } };
export const transport: Transport = kafka(options);`,
    types: ["node"],
  },
  {
    name: "sqs-sns",
    client: "@aws-sdk/client-sqs",
    url: "sqs://eu-central-1",
    sample: `import { sqs, type SqsOptions } from "@posthorn/sqs-sns";
const options: SqsOptions = { region: "eu-central-1", credentials: { accessKeyId: "key", secretAccessKey: "secret" } };
export const transport: Transport = sqs(options);`,
    types: [],
  },
];

describe.each(adapters)("$name, installed beside core", ({ name, client, url, sample, types }) => {
  let into: string;
  beforeAll(async () => {
    into = await install(name);
  }, 180_000);
  afterAll(() => rm(into, { recursive: true, force: true }));

  test("brings its own broker client, and no other's", async () => {
    const names = await installed(into);
    expect(names).toContain(client);
    const others = adapters.map((adapter) => adapter.client).filter((other) => other !== client);
    expect(names.filter((each) => others.includes(each) || each === "@posthorn/memory")).toEqual([]);
  });

  test("compiles with every library checked, without a type of its client", async () => {
    await writeFile(
      path.join(into, "main.ts"),
      `import type { Transport } from "@posthorn/core/transport";\n${sample}\n`,
    );
    expect(await compile(into, types)).toBe("");
  });

  test("is opened by its URL", async () => {
    const program = `
      import { openTransport } from "@posthorn/core";
      const load = () => import("@posthorn/${name}");
      const transport = await openTransport("${url}", { amqp: load, kafka: load, sqs: load });
      console.log(transport.specVersion, transport.capabilities.durable);
      await transport.close({ signal: AbortSignal.timeout(1_000) });`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program], { cwd: into });
    expect(stdout).toBe("1 true\n");
  });
});
