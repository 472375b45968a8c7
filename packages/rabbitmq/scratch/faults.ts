import { broker, channelAddress, codes, deadLetterAddress, inletAddress, msg, openT, queue, rabbitmq, s, sleep, topic, topoOf, uniq, until } from "./kit.ts";
const v = process.argv[2] ?? "4.0"; const only = process.argv[3];
const b = await broker(v); console.log("broker", b.version);
const ctl = b.control!;
const cases: Record<string, () => Promise<void>> = {
  async credentials() {
    for (const url of [b.url.replace("guest:guest", "guest:wrong"), b.url + "/nope", b.url.replace(/:\d+$/, ":1")]) {
      const t = Date.now(); const tr = rabbitmq({ url });
      await tr.connect({ signal: s(1500), report: e => console.log(e) }).then(() => console.log("!!! connected"), e => console.log(e.code, e.message, "|", e.cause?.message, Date.now() - t, "ms"));
      await tr.close({ signal: s() });
    }
    const tr = rabbitmq({ url: b.url.replace(/:\d+$/, ":1") }); const p = tr.connect({ signal: s(20_000), report() {} }).catch(e => e.code); await sleep(200); const t = Date.now(); await tr.close({ signal: s() }); console.log("close while connecting", await p, Date.now() - t);
  },
  async isolation() {
    const tr = await openT(b.url); const q = queue(), t1 = topic(), t2 = topic(); await tr.provision(topoOf(q, t1), "apply", { signal: s() });
    const send = (a: any, n: number, over = {}) => tr.dispatch(Array.from({ length: n }, () => ({ address: a, message: msg(over) })), { signal: s() }).then(codes);
    console.log(await Promise.all([send(channelAddress(t1), 200), send(channelAddress(t2), 200), send(channelAddress(q), 200), send(channelAddress(queue()), 200), send(deadLetterAddress(q, q.name), 5), send(inletAddress(t1, "g"), 5), send(inletAddress(t1, "nope"), 5)]));
    await tr.provision(topoOf(t2), "apply", { signal: s() }); console.log("came back", await send(channelAddress(t2), 3));
    console.log("big", await send(channelAddress(q), 1, { body: new Uint8Array(16_777_217) }), await send(channelAddress(q), 1, { body: new Uint8Array(16_777_216) }), "headers", await send(channelAddress(q), 1, { headers: { a: "x".repeat(70_000) } }), await send(channelAddress(q), 1, { headers: { a: "x".repeat(60_000) } }), await send(channelAddress(q), 1, { headers: { ["n".repeat(300)]: "x" } }), "long id", await send(channelAddress(q), 1, { id: "i".repeat(300), correlationId: "ü".repeat(200) }), "unroutable long id", await send(channelAddress(queue()), 1, { id: "i".repeat(300) }));
    console.log("aborted", codes(await tr.dispatch([{ address: channelAddress(q), message: msg() }], { signal: AbortSignal.abort() })));
    await tr.close({ signal: s() });
    console.log("after close", await send(channelAddress(q), 1).catch(e => e.code), await tr.provision(topoOf(q), "apply", { signal: s() }).catch(e => e.code), await tr.consume(inletAddress(q, q.name), async () => "accept", { maxInFlight: 1, signal: s() }).catch(e => e.code));
  },
  async forced() {
    const tr = await openT(b.url); const q = queue(), t = topic(); await tr.provision(topoOf(q, t), "apply", { signal: s() });
    const got = new Set<string>(); let dup = 0, lost = 0; const hold: (() => void)[] = []; let gate = false; let max = 0, cur = 0;
    const c = await tr.consume(inletAddress(q, q.name), async d => { cur++; max = Math.max(max, cur); d.lost.addEventListener("abort", () => lost++, { once: true }); if (gate) await new Promise<void>(r => hold.push(r)); if (got.has(d.message.id)) dup++; got.add(d.message.id); cur--; return "accept"; }, { maxInFlight: 20, signal: s() });
    let sent = 0; const send = async (n: number) => { const m = Array.from({ length: n }, () => msg()); for (let left = m; left.length;) { const rs = await tr.dispatch(left.map(message => ({ address: channelAddress(q), message })), { signal: s(20_000) }); left = left.filter((_, i) => !rs[i]!.accepted); } sent += n; };
    await send(100); console.log("before", await until("all", () => got.size === 100));
    gate = true; await send(100); await until("20 pending", () => cur === 20);
    let t0 = Date.now(); await ctl.closeAllConnections("test"); console.log("closed in", Date.now() - t0, tr.health());
    await until("connected", () => tr.health().status === "connected"); console.log("reconnected", Date.now() - t0, "lost", lost, "cur", cur, "max", max);
    await send(50); gate = false; for (const r of hold.splice(0)) r();
    console.log("resumed", await until("all", () => got.size === 250), "dup", dup, "max", max);
    t0 = Date.now(); await ctl.ctl("eval", `rabbit_amqqueue:delete(element(2,rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"${q.name}">>))), false, false, <<"x">>).`).catch(e => console.log(String(e).slice(0, 300)));
    await sleep(100); console.log(tr.health()); await until("restored", () => tr.health().status === "connected"); await send(10); console.log("queue deleted, resumed", await until("all", () => got.size === 260), Date.now() - t0);
    const dl = await tr.admin.depth(deadLetterAddress(q, q.name), { signal: s() }); console.log(dl);
    await c.stop(); await tr.close({ signal: s() });
  },
  async restart() {
    const tr = await openT(b.url); const q = queue(); await tr.provision(topoOf(q), "apply", { signal: s() });
    const got = new Set<string>(); let dup = 0; let cur = 0, max = 0;
    const c = await tr.consume(inletAddress(q, q.name), async d => { cur++; max = Math.max(cur, max); await sleep(5); cur--; if (got.has(d.message.id)) dup++; got.add(d.message.id); return "accept"; }, { maxInFlight: 20, signal: s() });
    const acked: string[] = []; let stop = false; const out: Record<string, number> = {};
    const loop = (async () => { while (!stop) { const b = Array.from({ length: 20 }, () => ({ address: channelAddress(q), message: msg() })); const rs = await tr.dispatch(b, { signal: s(3_000) }); rs.forEach((r, i) => { if (r.accepted) acked.push(b[i]!.message.id); else out[r.error.code] = (out[r.error.code] ?? 0) + 1; }); } })();
    await sleep(1000); await ctl.kill(); const t0 = Date.now(); await sleep(500); console.log(tr.health()); await ctl.start(); const up = Date.now(); console.log("broker back", up - t0); await until("connected", () => tr.health().status === "connected", 30_000); const n = got.size; await until("consuming", () => got.size > n); console.log("resumed after start", Date.now() - up); await sleep(1500); stop = true; await loop;
    console.log("drain", await until("all", () => acked.every(i => got.has(i))), "acked", acked.length, "got", got.size, "dup", dup, "failed", out, "max", max);
    await c.stop(); await tr.close({ signal: s() });
  },
  async blocked() {
    const tr = await openT(b.url); const q = queue(); await tr.provision(topoOf(q), "apply", { signal: s() });
    const send = (n: number, ms: number) => tr.dispatch(Array.from({ length: n }, () => ({ address: channelAddress(q), message: msg() })), { signal: s(ms) }).then(codes);
    let got = 0; console.log(await send(50, 5000));
    await ctl.ctl("set_vm_memory_high_watermark", "absolute", "1"); await sleep(1000);
    console.log("first", await send(3, 1000)); console.log(tr.health(), "second", await send(3, 1000));
    const c = await tr.consume(inletAddress(q, q.name), async () => { got++; return "accept"; }, { maxInFlight: 5, signal: s() });
    console.log("consume while blocked", await until("got", () => got >= 50), await tr.admin.depth(inletAddress(q, q.name), { signal: s() }));
    const later = send(3, 10_000); await ctl.ctl("set_vm_memory_high_watermark", "0.6"); console.log("unblocked", await later, tr.health()); await sleep(300); console.log("got", got);
    await ctl.ctl("set_vm_memory_high_watermark", "absolute", "1"); await sleep(500); await send(1, 300); const t0 = Date.now(); await tr.close({ signal: s(2000) }); console.log("close while blocked", Date.now() - t0); await ctl.ctl("set_vm_memory_high_watermark", "0.6"); void c;
  },
  async flow() {
    const tr = await openT(b.url); const q = queue(); await tr.provision(topoOf(q), "apply", { signal: s() });
    let cur = 0, max = 0, total = 0; let gates: (() => void)[] = []; const counts: any[] = [];
    const c = await tr.consume(inletAddress(q, q.name), async d => { total++; counts.push(d.deliveryCount); cur++; max = Math.max(max, cur); await new Promise<void>(r => gates.push(r)); cur--; return "accept"; }, { maxInFlight: 10, signal: s() });
    await tr.dispatch(Array.from({ length: 300 }, () => ({ address: channelAddress(q), message: msg() })), { signal: s() });
    const open = (n = 1e9) => { for (const r of gates.splice(0, n)) r(); };
    const unacked = async () => (await ctl.ctl("list_queues", "-q", "name", "messages_ready", "messages_unacknowledged")).split("\n").find(l => l.startsWith(q.name + "\t"));
    await until("10", () => cur === 10); await sleep(200); console.log("10:", cur, await unacked());
    c.resize(25); await until("25", () => cur === 25); await sleep(200); console.log("grown:", cur, max, await unacked());
    c.resize(5); await sleep(200); max = 0; open(20); await sleep(300); console.log("shrunk:", cur, await unacked()); open(1); await sleep(300); console.log("5:", cur, await unacked());
    c.pause(); open(); await sleep(300); console.log("paused", cur, await unacked()); c.resume(); await until("5", () => cur === 5); await sleep(100); console.log("resumed", cur, await unacked());
    for (let i = 0; i < 20; i++) { c.pause(); open(2); c.resume(); c.resize(5 + (i % 7)); await sleep(20); } c.resize(8); for (let i = 0; i < 40; i++) { open(); await sleep(15); } await sleep(200);
    console.log("after churn", cur, "max", max, await unacked(), "total", total);
    const t = Date.now(); await c.stop(); console.log("stopped", Date.now() - t, cur, await unacked()); await sleep(100); const n = total; open(); await sleep(200); console.log("settled after stop", cur, total === n, await unacked());
    console.log("counts", Math.max(...counts.map(x => x ?? -1)));
    c.pause(); c.resume(); c.resize(3); await c.stop(); await tr.close({ signal: s() });
  },
  async mismatch() {
    const amqp = await import("amqplib"); const con = await amqp.connect(b.url); const ch = await con.createChannel(); ch.on("error", () => {});
    const q = queue(), q2 = queue(), t = topic(); await ch.assertQueue(q.name, { durable: true }); await ch.assertQueue(q2.name, { durable: true, arguments: { "x-queue-type": "quorum" } }); await ch.assertExchange(t.name, "fanout");
    const tr = await openT(b.url); for (const mode of ["verify", "plan", "apply"] as const) console.log(mode, await tr.provision(topoOf(q, q2, t), mode, { signal: s() }));
    const ts = await Promise.all(Array.from({ length: 10 }, () => openT(b.url, {}, false))); const top = topoOf(queue(), topic(), queue(), topic()); console.log("10 at once", (await Promise.all(ts.map(x => x.provision(top, "apply", { signal: s() }))).catch(e => e))); await Promise.all(ts.map(x => x.close({ signal: s() })));
    console.log("consume missing", await tr.consume(inletAddress(queue(), "x"), async () => "accept", { maxInFlight: 1, signal: s() }).catch(e => e.code + " " + e.message), await tr.admin.depth(inletAddress(queue(), "x"), { signal: s() }).catch(e => e.code + " " + e.message));
    await ctl.ctl("add_user", "weak", "weak").catch(() => {}); await ctl.ctl("set_permissions", "weak", "^$", "^" + q.name + "$", ".*");
    const w = await openT(b.url.replace("guest:guest", "weak:weak"), {}, false); for (const mode of ["verify", "apply"] as const) console.log("weak", mode, await w.provision(top, mode, { signal: s() }).catch(e => e.code + " " + e.message));
    console.log(codes(await w.dispatch([{ address: channelAddress(q), message: msg() }], { signal: s() })), codes(await w.dispatch([{ address: channelAddress(t), message: msg() }], { signal: s() })));
    await w.close({ signal: s() }); await tr.close({ signal: s() }); await con.close();
  },
  async counts() {
    const tr = await openT(b.url, { deliveryLimit: 50 }); const q = queue(); await tr.provision(topoOf(q), "apply", { signal: s() });
    await tr.dispatch([{ address: channelAddress(q), message: msg() }], { signal: s() }); const seen: any[] = [];
    const c = await tr.consume(inletAddress(q, q.name), async d => { seen.push(d.deliveryCount); return seen.length < 5 ? "release" : "accept"; }, { maxInFlight: 3, signal: s() });
    await until("5", () => seen.length >= 5); console.log("release counts", seen); await c.stop();
    await tr.dispatch([0, 1, 2].map(() => ({ address: channelAddress(q), message: msg() })), { signal: s() });
    let n = 0; for (; n < 70; n++) { const d = await tr.admin.browse(inletAddress(q, q.name), { signal: s(), limit: 10 }); if (d.length !== 3) break; } const order = (await tr.admin.browse(inletAddress(q, q.name), { signal: s(), limit: 10 })).map(m => m.id); console.log("browsed inlet", n, "ordered", order.join() === [...order].sort().join(), "left", await tr.admin.depth(inletAddress(q, q.name), { signal: s() }), await tr.admin.depth(deadLetterAddress(q, q.name), { signal: s() }));
    await tr.dispatch([0, 1, 2].map(() => ({ address: deadLetterAddress(q, q.name), message: msg() })), { signal: s() }); let ok = 0; for (let i = 0; i < 120; i++) if ((await tr.admin.browse(deadLetterAddress(q, q.name), { signal: s(), limit: 2 })).length === 2) ok++; console.log("browsed dlq", ok, await tr.admin.depth(deadLetterAddress(q, q.name), { signal: s() }));
    await tr.close({ signal: s() });
  },
  async pausedBroker() {
    const tr = await openT(b.url, { heartbeatSeconds: 2 }); const q = queue(); await tr.provision(topoOf(q), "apply", { signal: s() }); let got = 0;
    const c = await tr.consume(inletAddress(q, q.name), async () => { got++; return "accept"; }, { maxInFlight: 3, signal: s() });
    await ctl.pause(); const t0 = Date.now(); console.log(codes(await tr.dispatch([{ address: channelAddress(q), message: msg() }], { signal: s(1000) }))); console.log("detected", await until("down", () => tr.health().status === "disconnected")); const st = Date.now(); await c.stop(); console.log("stop", Date.now() - st); await ctl.resume(); console.log("back", await until("up", () => tr.health().status === "connected"), Date.now() - t0); 
    await ctl.pause(); await sleep(200); const t1 = Date.now(); await tr.close({ signal: s(700) }); console.log("close while stalled", Date.now() - t1); await ctl.resume();
  },
};
for (const [name, f] of Object.entries(cases)) if (!only || only.split(",").includes(name)) { console.log("==", name); try { await f(); } catch (e) { console.log("!!! FAILED", e); } }
await b.stop(); console.log("left", process.getActiveResourcesInfo().filter(x => x !== "PipeWrap"));
