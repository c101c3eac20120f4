/** What may be drawn and what is drawn, against transformers' processors and generate() (golden/make/sampling.py). */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { loadPolicy } from "../../src/assembly/models.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { keptF64, type SamplingOptions } from "../../src/ops/sampling/sample.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { drawOnGpu, PROMPT_OF_ZERO, uniformOf } from "./kernel_draws.ts";
import { differences, type ParityLine, worstRelative } from "./line.ts";

interface Case {
  /** Name of the row of logits. */
  logits: string;
  /** Prompt and completion so far. */
  history: number[];
  options: {
    temperature: number;
    topK: number;
    topP: number;
    minP: number | null;
    repetitionPenalty: number;
  };
}

interface KeptCase extends Case {
  /** Bit v of this hexadecimal number: token v may be drawn. */
  kept: string;
  /** Of the kept tokens in ascending order, from f64 logits. */
  probabilities?: number[];
}

interface DrawCase extends Case {
  draws: number;
  tokens: number[];
  probabilities: number[];
  /** Exceeded by chance with probability 1e-4. */
  criticalChiSquare: number;
}

interface GreedyCase {
  repetitionPenalty: number;
  maxTokens: number;
  eosIds: number[];
  rows: { prompt: number[]; completion: number[] }[];
}

const FIXTURE = new URL("../golden/sampling.json", import.meta.url);
const { cases, draws, greedy }: { cases: KeptCase[]; draws: DrawCase; greedy: GreedyCase[] } = JSON.parse(
  readFileSync(FIXTURE, "utf8"),
);

async function readLogits(): Promise<Map<string, Float32Array>> {
  const reader = await openSafetensors(
    fileURLToPath(new URL("../golden/sampling.safetensors", import.meta.url)),
  );
  const rows = new Map<string, Float32Array>();
  for (const name of reader.tensors.keys()) {
    rows.set(name, new Float32Array((await reader.read(name)).slice().buffer));
  }
  await reader.close();
  return rows;
}

const optionsOf = ({ options }: Case): SamplingOptions => ({ ...options, minP: options.minP ?? 0 });

function keptTokens({ kept }: KeptCase, vocab: number): number[] {
  const bits = BigInt(`0x${kept}`);
  return Array.from({ length: vocab }, (_, v) => v).filter((v) => (bits >> BigInt(v)) & 1n);
}

/**
 * Whether the kernel keeps each of `tokens`, exactly: with u = 0 it draws the first kept token of a row, so a row
 * rotated until v comes first draws 0 if and only if v is kept.
 */
async function keptOnGpu(one: Case, logits: Float32Array, tokens: number[]): Promise<boolean[]> {
  const vocab = logits.length;
  const rotated = new Float32Array(tokens.length * vocab);
  tokens.forEach((v, i) => {
    rotated.set(logits.subarray(v), i * vocab);
    rotated.set(logits.subarray(0, v), (i + 1) * vocab - v);
  });
  const rows = tokens.map((v, i) => ({
    logitsRow: i,
    prompt: PROMPT_OF_ZERO,
    generation: 0,
    history: one.history.map((id) => (id - v + vocab) % vocab),
  }));
  const drawn = await drawOnGpu(rotated, vocab, rows, optionsOf(one));
  return Array.from(drawn, (token) => token === 0);
}

/** The tokens that lie closest to the edge of what is kept, likeliest first; none that f32 cannot draw at all. */
function tokensAtTheEdge(one: KeptCase, logits: Float32Array, keptCount: number): number[] {
  const unfiltered = { ...optionsOf(one), topK: 0, topP: 1, minP: 0 };
  const { tokens, weights } = keptF64(logits, unfiltered, new Set(one.history));
  const likeliest = tokens.filter((v) => weights[v] > 1e-30).sort((a, b) => weights[b] - weights[a]);
  const reach = logits.length < 100 ? logits.length : 24;
  const edge = Math.min(keptCount, likeliest.length);
  return likeliest.slice(Math.max(0, edge - reach), edge + reach);
}

async function keptSetsThatDiffer(): Promise<number> {
  const rows = await readLogits();
  let wrong = 0;
  for (const one of cases) {
    const logits = rows.get(one.logits)!;
    const expected = new Set(keptTokens(one, logits.length));
    const tokens = tokensAtTheEdge(one, logits, expected.size);
    const kept = await keptOnGpu(one, logits, tokens);
    if (tokens.some((v, i) => kept[i] !== expected.has(v))) wrong++;
  }
  return wrong;
}

async function twinSetsThatDiffer(): Promise<number> {
  const rows = await readLogits();
  return cases.filter((one) => {
    const logits = rows.get(one.logits)!;
    const { tokens } = keptF64(logits, optionsOf(one), new Set(one.history));
    return differences(tokens, keptTokens(one, logits.length)) > 0;
  }).length;
}

function probabilitiesOf(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

async function worstTwinProbability(): Promise<number> {
  const rows = await readLogits();
  return Math.max(
    ...cases.filter(({ probabilities }) => probabilities).map((one) => {
      const { weights } = keptF64(rows.get(one.logits)!, optionsOf(one), new Set(one.history));
      return worstRelative(probabilitiesOf(weights), one.probabilities!);
    }),
  );
}

/** Draws of every case: how far each u lies outside the twin's interval of the token the kernel drew with it. */
async function drawnDistances(): Promise<number[]> {
  const rows = await readLogits();
  const distances: number[] = [];
  for (const [prompt, one] of cases.entries()) {
    const logits = rows.get(one.logits)!;
    const drawRows = Array.from({ length: 32 }, (_, generation) => ({
      logitsRow: 0,
      prompt,
      generation,
      history: one.history,
    }));
    const drawn = await drawOnGpu(logits, logits.length, drawRows, optionsOf(one));
    const { tokens, weights } = keptF64(logits, optionsOf(one), new Set(one.history));
    const probabilities = probabilitiesOf(weights);
    let running = 0;
    const ends = new Map(tokens.map((v, i) => [v, running += probabilities[i]]));
    drawRows.forEach((row, r) => {
      const u = uniformOf(row);
      const end = ends.get(drawn[r]) ?? NaN;
      const begin = end - probabilities[tokens.indexOf(drawn[r])];
      distances.push(Number.isNaN(end) ? Infinity : Math.max(0, begin - u, u - end));
    });
  }
  return distances;
}

async function chiSquareShare(): Promise<number> {
  const logits = (await readLogits()).get(draws.logits)!;
  const drawRows = Array.from({ length: draws.draws }, (_, r) => ({
    logitsRow: 0,
    prompt: Math.floor(r / 64),
    generation: r % 64,
    history: draws.history,
  }));
  const drawn = await drawOnGpu(logits, logits.length, drawRows, optionsOf(draws));
  const counts = new Map(draws.tokens.map((v) => [v, 0]));
  for (const token of drawn) {
    if (!counts.has(token)) return Infinity;
    counts.set(token, counts.get(token)! + 1);
  }
  const chiSquare = draws.tokens.reduce((sum, v, i) => {
    const expected = draws.probabilities[i] * draws.draws;
    return sum + (counts.get(v)! - expected) ** 2 / expected;
  }, 0);
  return chiSquare / draws.criticalChiSquare;
}

async function greedyTokensThatDiffer(): Promise<number> {
  const dir = fileURLToPath(new URL("../../models/quickstart/policy", import.meta.url));
  const { policy } = await loadPolicy(dir, "frozen");
  let wrong = 0;
  for (const { repetitionPenalty, maxTokens, eosIds, rows } of greedy) {
    const options = {
      temperature: 0,
      topP: 1,
      topK: 0,
      repetitionPenalty,
      eosIds,
      maxTokens,
      readbackEvery: 16,
    };
    const generator = createGenerator(policy, options);
    const prompts = rows.map(({ prompt }) => prompt);
    const made = await generator.generate({ prompts, groupSize: 1, seed: 0, step: 0 });
    rows.forEach(({ completion }, p) => wrong += differences(made[p].tokens, completion));
    generator.dispose();
  }
  tf.dispose(listWeights(policy.weights).map(({ tensor }) => tensor));
  return wrong;
}

const FILTERS = "transformers, logits processors of generate()";
const ALL_OPTIONS = "repetition_penalty, temperature, top_k, top_p, min_p, alone and together";

export const lines: ParityLine[] = [
  {
    what: `tokens kept by the kernel: ${ALL_OPTIONS}`,
    reference: FILTERS,
    measure: "cases with another set",
    limit: 0,
    worst: keptSetsThatDiffer,
  },
  {
    what: `tokens kept by the twin: ${ALL_OPTIONS}`,
    reference: FILTERS,
    measure: "cases with another set",
    limit: 0,
    worst: twinSetsThatDiffer,
  },
  {
    what: "probabilities of the kept tokens, by the twin",
    reference: `${FILTERS}, float64`,
    measure: "relative",
    limit: 1e-14,
    worst: worstTwinProbability,
  },
  {
    what: "tokens drawn by the kernel with the u of the twin",
    reference: "the f64 twin held above",
    measure: "distance in probability from u to the token drawn",
    limit: 1e-6,
    reason: "running sums in f32",
    worst: async () => Math.max(...await drawnDistances()),
  },
  {
    what: "distribution of 50176 draws of the kernel: repetition_penalty, temperature, top_p and min_p on",
    reference: `${FILTERS}, float64`,
    measure: "chi-square, as a share of the value that chance exceeds once in 10000",
    limit: 1,
    reason: "chance alone reaches it once in 10000 seeds, and this seed is always the same",
    worst: chiSquareShare,
  },
  {
    what: "greedy decoding with repetition_penalty 1.3 of the quickstart policy, 4 prompts, up to 48 tokens",
    reference: "transformers, generate(do_sample=False)",
    measure: "tokens that differ",
    limit: 0,
    worst: greedyTokensThatDiffer,
  },
];
