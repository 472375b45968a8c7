import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

/** One run of something: how fast, and what it cost this process. */
export interface Sample {
  readonly perSecond: number;
  readonly cpuMicrosPerMessage: number;
}

export interface Figures {
  readonly perSecond: number;
  readonly cpuMicrosPerMessage: number;
}

/** Two ways to do the same, run in turn so that a noisy machine is noisy for both. */
export interface Comparison {
  readonly name: string;
  readonly messages: number;
  /** Before each; not measured. */
  readonly prepare?: () => Promise<void>;
  /** What it resolves to is done afterwards, not measured. */
  readonly ours: () => Promise<Tidy | void>;
  readonly raw: () => Promise<Tidy | void>;
}

/** Closes what a run has opened. */
export type Tidy = () => Promise<void>;

export interface Result {
  readonly name: string;
  readonly messages: number;
  readonly rounds: number;
  readonly ours: Figures;
  readonly raw: Figures;
  /** Of each round's rates, ours to raw: the median. */
  readonly rateRatio: number;
  /** Of each round's CPU time, ours to raw: the median. */
  readonly cpuRatio: number;
}

export async function compare({ name, messages, prepare, ours, raw }: Comparison, rounds: number): Promise<Result> {
  const samples: { readonly ours: Sample; readonly raw: Sample }[] = [];
  // The first round warms up and does not count.
  for (let round = 0; round <= rounds; round++) {
    await prepare?.();
    const rawSample = await time(messages, raw);
    await prepare?.();
    const sample = { raw: rawSample, ours: await time(messages, ours) };
    if (round > 0) samples.push(sample);
  }
  const figures = (of: (sample: (typeof samples)[number]) => Sample): Figures => ({
    perSecond: Math.round(median(samples.map((sample) => of(sample).perSecond))),
    cpuMicrosPerMessage: round2(median(samples.map((sample) => of(sample).cpuMicrosPerMessage))),
  });
  return {
    name,
    messages,
    rounds,
    ours: figures((sample) => sample.ours),
    raw: figures((sample) => sample.raw),
    rateRatio: round2(median(samples.map((sample) => sample.ours.perSecond / sample.raw.perSecond))),
    cpuRatio: round2(median(samples.map((sample) => sample.ours.cpuMicrosPerMessage / sample.raw.cpuMicrosPerMessage))),
  };
}

async function time(messages: number, work: Comparison["ours"]): Promise<Sample> {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const tidy = await work();
  const seconds = (performance.now() - startedAt) / 1_000;
  const { user, system } = process.cpuUsage(cpuBefore);
  await tidy?.();
  return { perSecond: messages / seconds, cpuMicrosPerMessage: (user + system) / messages };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

/** A line a result on the console, and all of them as JSON. */
export async function report(scenario: string, results: readonly Result[]): Promise<void> {
  for (const { name, messages, rounds, ours, raw, rateRatio, cpuRatio } of results) {
    console.log(`${name}: ${messages} messages, median of ${rounds}`);
    console.log(`  posthorn ${ours.perSecond}/s, ${ours.cpuMicrosPerMessage} µs CPU a message`);
    console.log(`  raw      ${raw.perSecond}/s, ${raw.cpuMicrosPerMessage} µs CPU a message`);
    console.log(`  ratio    rate ${rateRatio}, CPU ${cpuRatio}`);
  }
  await writeReport(scenario, results);
}

/** All figures as JSON, in `reports/`. */
export async function writeReport(scenario: string, results: readonly unknown[]): Promise<void> {
  const file = path.resolve(import.meta.dirname, "../../reports", `bench-${scenario}.json`);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify({ scenario, node: process.version, results }, null, 2)}\n`);
  console.log(`Written to ${path.relative(process.cwd(), file)}`);
}
