import { rabbitmq } from "../src/index.ts";
import { channelAddress, inletAddress, deadLetterAddress, uuidv7 } from "@posthorn/core/transport";
import { resolveRabbitmq } from "../../../integration-tests/brokers/resolve.ts";
export { rabbitmq, channelAddress, inletAddress, deadLetterAddress, uuidv7 };
export const s = (ms = 15_000) => AbortSignal.timeout(ms);
export const sleep = (ms: number) => new Promise<void>(r => setTimeout(r, ms));
export const uniq = (p: string) => p + Math.random().toString(36).slice(2, 9);
export const queue = (name = uniq("q")) => ({ kind: "queue" as const, name, ordered: false });
export const topic = (name = uniq("t")) => ({ kind: "topic" as const, name, ordered: false });
export const msg = (over: object = {}) => ({ id: uuidv7(Date.now()), type: "a-type", version: 1, source: "svc", time: Date.now(), contentType: "application/json", key: undefined, correlationId: "c", causationId: undefined, replyTo: undefined, notBefore: undefined, expiresAt: undefined, attempt: 1, traceparent: undefined, tracestate: undefined, baggage: undefined, headers: {}, body: new TextEncoder().encode('{"a":1}'), ...over });
export const codes = (rs: readonly any[]) => { const m: Record<string, number> = {}; for (const r of rs) { const k = r.accepted ? "ok" : r.error.code; m[k] = (m[k] ?? 0) + 1; } return m; };
export async function until(what: string, f: () => boolean | Promise<boolean>, ms = 15_000) { const t = Date.now(); while (!(await f())) { if (Date.now() - t > ms) { console.log("!!! TIMEOUT", what); return -1; } await sleep(10); } return Date.now() - t; }
export const topoOf = (...cs: any[]) => ({ channels: cs, groups: cs.map(c => ({ channel: c, name: c.kind === "queue" ? c.name : "g", types: c.kind === "queue" ? [] : ["a-type"] })) });
export async function broker(v: string) { const { brokers, missing } = await resolveRabbitmq({ versions: [v as any], log: () => {} }); if (!brokers[0]) throw new Error(JSON.stringify(missing)); return brokers[0]; }
export const errors: any[] = [];
export async function openT(url: string, opts: any = {}, log = true) { const tr = rabbitmq({ url, ...opts }); await tr.connect({ signal: s(), report: e => { if (log) console.log("   ·", e.name, e.detail); } }); return tr; }
process.on("unhandledRejection", e => console.log("!!! UNHANDLED", e)); process.on("uncaughtException", e => console.log("!!! UNCAUGHT", e)); process.on("warning", w => console.log("!!! WARNING", w));
