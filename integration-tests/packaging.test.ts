import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "..");
const pnpm = path.join(root, "node_modules", ".bin", "pnpm");
const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");

let folder: string;
let tarballs: string;

/** What npm would publish. */
async function pack(name: string): Promise<string> {
  const { stdout } = await run(pnpm, ["pack", "--json", "--pack-destination", tarballs], {
    cwd: path.join(root, "packages", name),
  });
  return path.resolve(tarballs, (JSON.parse(stdout) as { filename: string }).filename);
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "posthorn-packaging-"));
  tarballs = folder;
  const core = await pack("core");
  const memory = await pack("memory");
  await writeFile(
    path.join(folder, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: { "@posthorn/core": `file:${core}`, "@posthorn/memory": `file:${memory}` },
      overrides: { "@posthorn/core": `file:${core}` },
    }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: folder });
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

test("core has no runtime dependency", async () => {
  const manifest = JSON.parse(
    await readFile(path.join(folder, "node_modules/@posthorn/core/package.json"), "utf8"),
  ) as Record<string, unknown>;
  expect(manifest["dependencies"]).toBeUndefined();
  expect(manifest["peerDependencies"]).toBeUndefined();
  expect(manifest["engines"]).toEqual({ node: ">=22.12" });
});

test("installing core and memory brings no broker client", async () => {
  const { stdout } = await run("npm", ["ls", "--all", "--json"], { cwd: folder });
  const names = new Set<string>();
  const collect = (node: { dependencies?: Record<string, object> }): void => {
    for (const [name, child] of Object.entries(node.dependencies ?? {})) {
      names.add(name);
      collect(child);
    }
  };
  collect(JSON.parse(stdout) as object);
  expect([...names].toSorted()).toEqual(["@posthorn/core", "@posthorn/memory", "zod"]);
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
  await writeFile(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        skipLibCheck: false,
        module: "nodenext",
        target: "es2024",
        lib: ["es2024", "dom", "esnext.disposable"],
        declaration: true,
        outDir: "out",
        types: [],
      },
      files: ["main.ts"],
    }),
  );
  const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch(
    (error: unknown) => error as { stdout: string },
  );
  expect(stdout).toBe("");
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
