/** The memory plan of a run: its phases, run at their largest shapes on a device that only counts. */
import type { BatchShape } from "../config/batch.ts";
import type { RunConfig } from "../config/sweep.ts";
import { kernelsAsked, type KernelVariant } from "../gpu/kernel.ts";
import { trimPool } from "../gpu/pool.ts";
import { readTensor } from "../gpu/tensors.ts";
import { type OtherDevice, rehearse } from "../gpu/rehearsal.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { type Communicator, singleProcess } from "../parallel/communicator.ts";
import { rehearsedRank } from "../parallel/mpi/rehearsed.ts";
import { trainableWeights } from "../policy/adapters.ts";
import { createGenerator, type Generator } from "../policy/decode/generate.ts";
import { greedyOptions, plannedOptions } from "../policy/decode/options.ts";
import { moveByPerturbations } from "../policy/perturbations.ts";
import type { Policy } from "../policy/trunk.ts";
import { passLimitBytes } from "../policy/pass_replays.ts";
import { memberGenerator, membersAtOnce, slotsOf } from "./es/low_rank.ts";
import { perturb } from "./es/perturbation.ts";
import { memberOptions } from "./es/population.ts";
import { FULL_TOKENS } from "./frozen_passes.ts";
import type { Learner, LearnerOptions } from "./learner.ts";
import { prepareUpdate } from "./prepared_update.ts";
import { updatePolicy } from "./update.ts";
import { sharesState } from "./zero_step.ts";

/** Score models without values. */
export interface PlannedScorer {
  score(rows: number, length: number): Promise<unknown>;
  /** As of PassReplays. */
  passLimitBytes(): number;
}

/** What a run is made of, without the values. */
export interface RunModels {
  /** The policy with its weights and adapters, on the device at hand. */
  makePolicy(): Promise<Policy>;
  makeLearner(policy: Policy, config: RunConfig, options: LearnerOptions): Learner;
  /** Loads the score models that run in this process; null for a service. */
  makeScorer: (() => Promise<PlannedScorer>) | null;
  /** Tokens of the longest training and evaluation prompt. */
  longestPrompt: number;
  longestEvalPrompt: number;
  evalPrompts: number;
}

export interface MemoryPart {
  name: string;
  bytes: number;
}

export interface MemoryPlan {
  /** Rows of a forward and backward pass. */
  rowsPerPass: number;
  /** Whether backward runs the layers again. */
  recomputesLayers: boolean;
  /** Whether ranks sum gradients layer by layer, amid backward; default: no. */
  sumsLayers?: boolean;
  /** What each phase takes beside what the ones before it hold. */
  parts: MemoryPart[];
  peakBytes: number;
  /** What the run's kernels are, as far as the plan met them. */
  kernels: readonly KernelVariant[];
}

const gradientBytes = (weights: readonly Weight[]) =>
  weights.reduce((sum, { grad }) => sum + (grad ? grad.size * 4 : 0), 0);

/** Reads one tensor of each size, as saving does. */
async function readEachSize(learner: Learner): Promise<void> {
  const { weights, slots } = learner.optimizer;
  const tensors = [
    ...weights.map(({ tensor }) => tensor),
    ...slots.flatMap(({ master, firstMoment }) => [master, firstMoment]),
  ];
  const bySize = new Map(tensors.map((tensor) => [tensor.size, tensor]));
  for (const tensor of bySize.values()) await readTensor(tensor);
  trimPool();
}

/** Nothing is computed, so every token is 0: which must end no completion. */
const NO_END = [-1];

async function evaluateOnce(policy: Policy, models: RunModels, config: RunConfig): Promise<void> {
  const generator = createGenerator(policy, { ...greedyOptions(policy, config), eosIds: NO_END });
  const rows = Math.min(config.eval_batch_size, models.evalPrompts);
  const prompts = Array.from({ length: rows }, () => new Int32Array(models.longestEvalPrompt));
  await generator.generate({ prompts, groupSize: 1, seed: 0, step: 0 });
  generator.dispose();
  trimPool();
}

/** Who generates, and which member answers each prompt where members decode side by side. */
interface Sampler {
  generator: Generator;
  members?: number[];
}

function grpoSampler(policy: Policy, config: RunConfig): Sampler {
  return { generator: createGenerator(policy, { ...plannedOptions(policy, config), eosIds: NO_END }) };
}

function esSampler(policy: Policy, config: RunConfig, prompts: number, ranks: number): Sampler {
  const { es_rank: rank } = config;
  if (rank === null) {
    return { generator: createGenerator(policy, { ...memberOptions(policy, config), eosIds: NO_END }) };
  }
  const members = membersAtOnce(config, ranks);
  const { generator } = memberGenerator(policy, config, { rank, members, eosIds: NO_END });
  return { generator, members: slotsOf(members, prompts) };
}

/** What an iteration does to the weights. */
async function makeNoise({ policy, optimizer: { weights } }: Learner, config: RunConfig): Promise<void> {
  const { es_rank: rank, es_population_size } = config;
  if (rank === null) return void await perturb(weights, config);
  const terms = Array.from({ length: es_population_size }, (_, seed) => ({ seed, coefficient: 0 }));
  moveByPerturbations(policy.weights, terms, rank);
  trimPool();
}

/**
 * Counts the memory of a run, every prompt being as long as the longest and every completion as long as is allowed.
 * @param other to plan for another GPU than this one
 * @throws RangeError when a tensor is larger than this GPU can hold or bind
 */
export function planMemory(
  models: RunModels,
  config: RunConfig,
  { promptsPerGeneration, updatesPerGeneration }: BatchShape,
  passes: LearnerOptions,
  other?: OtherDevice,
): Promise<MemoryPlan> {
  const communicator = rehearsedRank(passes.ranks ?? singleProcess);
  const { size } = communicator;
  return rehearse(async (memory) => {
    const parts: MemoryPart[] = [];
    const part = async <R>(name: string, body: () => R | Promise<R>): Promise<R> => {
      const before = memory();
      const made = await body();
      const { liveBytes, peakBytes } = memory();
      // A phase that frees what it took counts with its peak, where that was the highest so far.
      const most = peakBytes > before.peakBytes ? peakBytes : liveBytes;
      parts.push({ name, bytes: most - before.liveBytes });
      return made;
    };
    const policy = await part("weights", models.makePolicy);
    const gradients = gradientBytes(trainableWeights(policy));
    parts[0].bytes -= gradients;
    parts.push({ name: "gradients", bytes: gradients });
    const scorer = models.makeScorer && await part("score models", models.makeScorer);
    const learner = await part(
      "optimizer and reference",
      () => models.makeLearner(policy, config, passes),
    );
    const isEs = config.algorithm === "es";
    const sampler = await part(
      "perturbations",
      () =>
        isEs
          ? esSampler(learner.policy, config, promptsPerGeneration, size)
          : grpoSampler(learner.policy, config),
    );
    const { generator } = sampler;
    const promptCount = sampler.members?.length ??
      (isEs
        ? Math.min(promptsPerGeneration, config.eval_batch_size) // members take turns
        : Math.ceil(promptsPerGeneration / size)); // a group may lie across ranks
    const prompts = Array.from(
      { length: promptCount },
      () => ({ ids: Array<number>(models.longestPrompt).fill(0) }),
    );
    const generate = () =>
      generator.generate({
        prompts: prompts.map(({ ids }) => ids),
        members: sampler.members,
        groupSize: isEs ? 1 : config.num_generations,
        seed: 0,
        step: 0,
      });
    const completions = await part("generation", generate);
    const score = () => {
      const length = models.longestPrompt + config.max_completion_length;
      const rows = Math.min(config.scorer_batch_size, completions.length);
      return scorer?.score(rows, Math.min(length, config.scorer_max_length));
    };
    await part("scoring", score);
    if (isEs) await part("noise", () => makeNoise(learner, config));
    else {await part("training pass", async () => {
        const own = completions.slice(0, promptsPerGeneration * config.num_generations / size);
        const rollouts = own.map(({ tokens, logprobs }, i) => ({
          prompt: prompts[Math.floor(i / config.num_generations)],
          tokens,
          logprobs,
          end: "eos" as const,
        }));
        const rates = Array<number>(updatesPerGeneration).fill(0);
        const prepared = prepareUpdate(learner, rollouts, 0, updatesPerGeneration, config);
        await updatePolicy(learner, prepared, {
          combined: Array<number>(size * rollouts.length).fill(0),
          communicator,
          learningRates: rates,
          config,
        });
      });}
    if (models.evalPrompts > 0) await part("evaluation", () => evaluateOnce(learner.policy, models, config));
    await part("saving", () => readEachSize(learner));
    await part("the next generation batch", async () => { // beside what is kept of the one before
      await generate();
      await score();
    });
    generator.dispose();
    const { replays } = learner;
    const kept = passLimitBytes(replays.policy) + passLimitBytes(replays.reference) +
      (scorer?.passLimitBytes() ?? 0);
    parts.push({ name: "passes of other sizes", bytes: kept });
    const peakBytes = memory().peakBytes + kept;
    const kernels = kernelsAsked();
    return {
      rowsPerPass: learner.rowsPerPass,
      recomputesLayers: learner.policy.recomputesLayers === true,
      sumsLayers: learner.optimizer.layers !== null,
      parts: parts.filter(({ bytes }) => bytes > 0),
      peakBytes,
      kernels,
    };
  }, other);
}

/** Tokens of a pass below which fewer rows cost more than the third that running the layers again adds. */
const FULL_PASS = 512;

/** What a plan has to fit. */
export interface PlanRoom {
  /** Infinite where it is not known, which tells nothing of what fits. */
  budgetBytes: number;
  /** A CPU: passes of more rows than it takes to fill a GPU gain nothing. */
  isSoftware: boolean;
}

/** The most completions to train on at a time: a micro-batch, or, where that does not fill a GPU, several. */
function mostRows(config: RunConfig, { budgetBytes, isSoftware }: PlanRoom): number {
  const { per_device_train_batch_size: own, gradient_accumulation_steps: microBatches } = config;
  if (isSoftware || !Number.isFinite(budgetBytes)) return own;
  let count = Math.min(
    microBatches,
    Math.max(1, Math.floor(FULL_TOKENS / (own * config.max_completion_length))),
  );
  while (microBatches % count !== 0) count--;
  return own * count;
}

/** Passes to try, those that cost least time first: sizes of the passes halve, since a plan costs seconds. */
function* passesToTry(
  config: RunConfig,
  room: PlanRoom,
): globalThis.Generator<LearnerOptions & { rowsPerPass: number }> {
  const all = mostRows(config, room);
  const isOpen = config.gradient_checkpointing === "auto" && Number.isFinite(room.budgetBytes);
  for (const recomputesLayers of isOpen ? [false, true] : [null]) {
    const leastTokens = recomputesLayers === false ? FULL_PASS : 0;
    for (const rowsPerPass of halvesOf(all)) {
      if (rowsPerPass < all && rowsPerPass * config.max_completion_length < leastTokens) break;
      yield { rowsPerPass, recomputesLayers };
    }
  }
}

/** As passesToTry where every pass has the ranks exchange all gradients: the fewest passes, whatever they compute. */
function* fewestPasses(config: RunConfig): globalThis.Generator<LearnerOptions & { rowsPerPass: number }> {
  const { per_device_train_batch_size: own, gradient_accumulation_steps: microBatches } = config;
  const recomputesLayers = config.gradient_checkpointing === "auto" ? true : null;
  for (const rowsPerPass of halvesOf(own * microBatches)) {
    yield { rowsPerPass, recomputesLayers, sumsLayers: true };
  }
}

/** Divisors of a number, from itself down to 1, each at most half of the one before. */
function* halvesOf(all: number): globalThis.Generator<number> {
  for (let part = all; part >= 1; part = Math.floor(part / 2)) {
    while (all % part !== 0) part--;
    yield part;
  }
}

/**
 * The plan with the most rows per pass that fits; else the one with one row, which does not. Rows divide the step.
 * Where it is left to the plan, layers run again in backward only if what they make does not fit, with as few rows as
 * fill the GPU. Ranks that share out the optimizer's state sum gradients layer by layer, in every pass, only where they
 * have no room for whole ones.
 * @param planWith counts a plan's memory
 * @param ranks that train together, and which of them this is
 */
export async function fittingPlan(
  models: RunModels,
  config: RunConfig,
  shape: BatchShape,
  room: PlanRoom,
  planWith: typeof planMemory = planMemory,
  ranks: Pick<Communicator, "rank" | "size"> = singleProcess,
): Promise<MemoryPlan> {
  if (config.algorithm === "es") return await planWith(models, config, shape, {});
  const isShared = sharesState(config, ranks.size) && !config.use_peft;
  const ofRank = ranks.size > 1 ? { ranks } : {};
  const tries = [...passesToTry(config, room), ...isShared ? fewestPasses(config) : []];
  let plan: MemoryPlan | null = null;
  for (const passes of tries) {
    plan = await planWith(models, config, shape, { ...passes, ...ofRank });
    if (plan.peakBytes <= room.budgetBytes) return plan;
  }
  return plan!;
}
