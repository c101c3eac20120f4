/**
 * Populations of evolution strategies: members of low rank that decode in one batch, beside plain decoding of as many
 * rows, and beside members of full rank that take turns; and iterations of the quickstart by both.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { holdingOf, loadPolicy } from "../src/assembly/models.ts";
import { loadPrompts } from "../src/assembly/prompts.ts";
import { loadConfig } from "../src/config/load.ts";
import { type RunConfig, sweepRuns } from "../src/config/sweep.ts";
import { trimPool } from "../src/gpu/pool.ts";
import { openGpu } from "../src/gpu/device.ts";
import { disposePolicyWeights } from "../src/policy/adapters.ts";
import { createGenerator, type Generator } from "../src/policy/decode/generate.ts";
import { createPerturbations } from "../src/policy/perturbations.ts";
import { disposeTrunk } from "../src/policy/transformer.ts";
import type { Policy } from "../src/policy/trunk.ts";
import { listWeights } from "../src/policy/weights.ts";
import { membersOf, updateTerms } from "../src/rl/es.ts";
import { slotsOf } from "../src/train/es/low_rank.ts";
import { openPopulation } from "../src/train/es/open_population.ts";
import { perturb } from "../src/train/es/perturbation.ts";
import { randomInts } from "../test/cases/case.ts";
import { summarize, type Timing } from "./measure.ts";
import { policyOf } from "./peers/ours.ts";
import { MODEL_15M, MODEL_TINY, peerTask } from "./peers/task.ts";
import { ROOT } from "./program.ts";
import { showProgress } from "./progress.ts";
import { inTurn, secondsOf } from "./wall_clock.ts";

export interface PopulationTiming {
  name: string;
  timing: Timing;
}

export interface PopulationReport {
  /** Of the model that decodes. */
  hidden: number;
  layers: number;
  members: number;
  prompts: number;
  promptTokens: number;
  tokens: number;
  /** Generations of all rows, prefill and all; plain decoding first. */
  decoding: PopulationTiming[];
  /** Completions of an iteration of the quickstart. */
  completions: number;
  /** Members' answers and the update, without judging. */
  iterations: PopulationTiming[];
}

export interface PopulationOptions {
  repeats: number;
  /** A few members of a model of a few thousand parameters, to see whether all of it runs. */
  isTiny: boolean;
}

/** Something that is run again and again. */
interface Work {
  name: string;
  run(): Promise<unknown>;
  dispose(): void;
}

/** Runs all in turn, and disposes of them; the first round warms up. */
async function race(works: readonly Work[], repeats: number): Promise<PopulationTiming[]> {
  try {
    const samples = await inTurn(works, repeats + 1, ({ name, run }, round) => {
      showProgress(round === 0 ? `warming up: ${name}` : `round ${round} of ${repeats}: ${name}`);
      return secondsOf(run);
    });
    return works.map(({ name }, w) => ({ name, timing: summarize(samples[w].slice(1), 1) }));
  } finally {
    works.forEach((work) => work.dispose());
    trimPool();
  }
}

const SIGMA = 1e-3;
const RANKS = [1, 4];

interface Sizes {
  members: number;
  prompts: number;
  promptTokens: number;
  tokens: number;
}

/** @throws Error when members without noise answer otherwise than the policy: their time would mean nothing */
async function assertSameAnswers(
  plain: Generator,
  low: Generator,
  request: Parameters<Generator["generate"]>[0],
  members: number[],
): Promise<void> {
  const [wanted, found] = [await plain.generate(request), await low.generate({ ...request, members })];
  const at = found.findIndex(({ tokens }, i) => tokens.some((token, t) => token !== wanted[i].tokens[t]));
  if (at >= 0) throw new Error(`Not timed: row ${at} of members without noise differs from plain decoding`);
}

/** Plain decoding of all rows, members of low rank in one batch, and of full rank in turn. */
async function decodingWorks(policy: Policy, vocab: number, sizes: Sizes): Promise<Work[]> {
  const { members, prompts, promptTokens, tokens } = sizes;
  const options = { temperature: 0, topP: 1, topK: 0, eosIds: [-1], readbackEvery: 16, maxTokens: tokens };
  const texts = Array.from({ length: prompts }, (_, p) => randomInts(50 + p, promptTokens, vocab));
  const request = {
    prompts: Array.from({ length: members }, () => texts).flat(),
    groupSize: 1,
    seed: 1,
    step: 1,
  };
  const slots = slotsOf(members, prompts);
  const plain = createGenerator(policy, options);
  const works: Work[] = [
    { name: "plain decoding", run: () => plain.generate(request), dispose: () => plain.dispose() },
  ];
  for (const rank of RANKS) {
    const perturbations = createPerturbations(policy.weights, rank, members);
    const terms = (coefficient: number) =>
      Array.from({ length: members }, (_, seed) => ({ seed, coefficient }));
    const generator = createGenerator(policy, { ...options, perturbations });
    perturbations.make(terms(0));
    await assertSameAnswers(plain, generator, request, slots);
    works.push({
      name: `members of rank ${rank}, one batch`,
      run() {
        perturbations.make(terms(SIGMA));
        return generator.generate({ ...request, members: slots });
      },
      dispose() {
        generator.dispose();
        perturbations.dispose();
      },
    });
  }
  const noise = await perturb(listWeights(policy.weights), { es_noise: "iid", es_sigma: SIGMA });
  const one = createGenerator(policy, options);
  works.push({
    name: "members of full rank, in turn",
    async run() {
      for (let seed = 0; seed < members; seed++) {
        noise.add([{ seed, coefficient: SIGMA }]);
        await one.generate({ ...request, prompts: texts });
        noise.add([{ seed, coefficient: -SIGMA }]);
      }
    },
    dispose: () => one.dispose(),
  });
  return works;
}

/** Iterations of the quickstart whose fitness is made up: members' answers, and the update. */
async function iterationWork(config: RunConfig): Promise<Work> {
  const { prompts, tokenizer } = await loadPrompts(config);
  const { policy } = await loadPolicy(config.model_name, holdingOf(config), { tokenizer });
  const population = await openPopulation({ policy, tokenizer, config });
  let iteration = 0;
  return {
    name: config.es_rank === null ? "full rank" : `rank ${config.es_rank}`,
    async run() {
      const members = membersOf(++iteration, config);
      const share = { start: 0, end: members.length };
      await population.rollouts(members, share, { prompts: prompts.slice(0, config.es_batch_size) });
      population.update(updateTerms(members, members.map((_, n) => n % 3), config.es_alpha)!);
    },
    dispose() {
      population.dispose();
      disposePolicyWeights(policy);
      disposeTrunk(policy);
    },
  };
}

function quickstartConfig(rank: number | null, isTiny: boolean): RunConfig {
  const path = join(ROOT, "configs/quickstart_es_low_rank.yaml");
  const tiny = isTiny ? ["es_population_size=2", "es_batch_size=4", "max_completion_length=8"] : [];
  const source = { text: readFileSync(path, "utf8"), fileName: path };
  // So small that answers stay as long as they are.
  const overrides = [`es_rank=${rank}`, "eval_jsonl=null", "es_alpha=1e-6", ...tiny];
  return sweepRuns(loadConfig(source, { overrides }))[0];
}

/** Times all of them. @throws Error when members without noise answer otherwise than plain decoding */
export async function benchPopulation({ repeats, isTiny }: PopulationOptions): Promise<PopulationReport> {
  await openGpu();
  const shape = isTiny ? MODEL_TINY : MODEL_15M;
  const sizes = isTiny
    ? { members: 2, prompts: 2, promptTokens: 4, tokens: 4 }
    : { members: 8, prompts: 8, promptTokens: 16, tokens: 33 };
  const policy = await policyOf(peerTask(shape, 4, sizes.promptTokens + sizes.tokens));
  const decoding = await race(await decodingWorks(policy, shape.vocab, sizes), repeats);
  disposePolicyWeights(policy);
  disposeTrunk(policy);
  const configs = [null, ...RANKS].map((rank) => quickstartConfig(rank, isTiny));
  const iterations = await race(await Promise.all(configs.map(iterationWork)), repeats);
  showProgress("");
  const [{ es_population_size, es_batch_size }] = configs;
  const { hidden, layers } = shape;
  return { hidden, layers, ...sizes, decoding, completions: es_population_size * es_batch_size, iterations };
}
