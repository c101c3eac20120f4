/**
 * A training step of a named shape as another device would run it: the program itself, on a device that counts and that
 * shows the other's features, limits and matrix units, so that it chooses that one's kernels.
 */
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import type { CalledDispatch } from "../../src/gpu/backend.ts";
import { matmulPrecision, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import type { Replays } from "../../src/gpu/replay.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { samplingOptions } from "../../src/policy/decode/options.ts";
import { makePassReplays, type PassReplays } from "../../src/policy/pass_replays.ts";
import { type ScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { fittingPlan, planMemory } from "../../src/train/memory_plan.ts";
import { prepareUpdate, type TrainedRollout } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { plannedModels } from "../job_model.ts";
import type { NamedShape } from "../shapes.ts";
import type { Device } from "./devices.ts";
import { type Place, recordCalls, type Recording } from "./record.ts";
import type { Seen } from "./work.ts";

/** What of the config a prediction chooses; what is left out is as the program would have it. */
export interface StepOptions {
  lora: "qv" | "all-linear" | "none";
  precision?: RunConfig["matmul_precision"];
}

export interface RecordedStep extends Recording {
  config: RunConfig;
  /** Tokens that each completion is sampled for after its first. */
  tokenSteps: number;
  rowsPerPass: number;
  /** By the memory plan, score models counted; and what there is. */
  peakBytes: number;
}

const LORA: Readonly<Record<StepOptions["lora"], Partial<RunConfig>>> = {
  qv: { use_peft: true, lora_target_modules: ["q_proj", "v_proj"] },
  "all-linear": { use_peft: true, lora_target_modules: "all-linear" },
  none: { use_peft: false },
};

function configOf({ settings }: NamedShape, { lora, precision }: StepOptions): RunConfig {
  const config = { ...defaultConfig(), beta: 0.02, eval_jsonl: null, ...settings, ...LORA[lora] };
  return precision ? { ...config, matmul_precision: precision } : config;
}

/** A completion that ends nowhere: no token has this id. */
const NO_END = [-1];
/** Tokens of a decode step are counted as so many as there are halfway between two of these. */
const HELD_STEP = 16;
/** What a memory plan leaves free for what it does not count. */
const PLANNED_SHARE = 0.95;
const SCORE_MODELS = ["reward", "cost"];

const ALONE: Seen = { sequence: 1, prefix: 0, readers: 1, held: 1, prompt: 0, group: 1 };

/** Where the program is in a step, told by those who call it and by the kernels that come. */
interface Tracker {
  placeOf(dispatch: CalledDispatch): Place;
  enter(phase: string, seen: Seen): void;
}

/** Decoding goes on from token to token; a training pass from forward to layers that are run again and backward. */
function trackPlace(promptTokens: number, group: number): Tracker {
  let phase = "";
  let seen = ALONE;
  let token = 0;
  const heldAt = new Map<number, Seen>();
  const decodeSeen = () => {
    const block = Math.floor(token / HELD_STEP);
    let found = heldAt.get(block);
    const held = promptTokens + block * HELD_STEP + HELD_STEP / 2;
    if (!found) heldAt.set(block, found = { ...ALONE, held, prompt: promptTokens, group });
    return found;
  };
  const name = (kernel: string) => {
    if (phase !== "training") return phase;
    const isGradient = kernel.includes("grad");
    if (kernel === "adamw" || kernel === "square_sums" || kernel === "clip_scale") part = "optimizer";
    else if (kernel === "group_advantages" || kernel === "embedding") part = "forward";
    else if (isGradient) part = "backward";
    else if (part === "backward" && /^(rms_norm|linear|swiglu_linear)/.test(kernel)) part = "recompute";
    return part;
  };
  let part = "forward";
  return {
    enter(next, nextSeen) {
      [phase, seen] = [next, nextSeen];
      part = "forward";
    },
    placeOf({ call: { kernel } }) {
      const place = { phase: name(kernel), seen: phase === "decode" ? decodeSeen() : seen };
      if (kernel === "decode_advance") {
        if (phase === "decode") token++;
        phase = "decode";
      }
      return place;
    },
  };
}

/** Passes over a step's prompts and its completions tell the tracker which they are. */
function tellPasses(
  { replays, phase, prompts, passes }: { replays: PassReplays; phase: string; prompts: Seen; passes: Seen },
  tracker: Tracker,
): void {
  const telling = (inner: Replays, seen: Seen): Replays => ({
    ...inner,
    run(name, inputs, build) {
      tracker.enter(phase, seen);
      return inner.run(name, inputs, build);
    },
  });
  replays.prompts = telling(replays.prompts, prompts);
  replays.passes = telling(replays.passes, passes);
  replays.promptsBackward = telling(replays.promptsBackward, prompts);
}

/** A score model on the policy's own trunk, without adapters: as much work as one of its size. */
function scoreModelOf({ adapters: _none, ...trunk }: Policy): ScoreModel {
  const shape = [1, trunk.config.hiddenSize];
  const scoreHead = {
    name: "score_head.weight",
    shape,
    format: "f32" as const,
    tensor: emptyTensor(shape),
    grad: null,
  };
  const raw = { bias: null, label: 0, padId: null, type: "reward" as const, normalizer: null };
  return { trunk, scoreHead, ...raw, replays: makePassReplays() };
}

/** Ids that differ from prompt to prompt and from completion to completion, so that only prompts are shared. */
const idsOf = (count: number, first: number) => Array.from({ length: count }, (_, t) => (first + t) % 997);

function rolloutsOf(prompts: readonly number[][], config: RunConfig): TrainedRollout[] {
  const given = prompts.map((ids) => ({ ids }));
  return given.flatMap((prompt, p) =>
    Array.from({ length: config.num_generations }, (_, g): TrainedRollout => ({
      prompt,
      tokens: idsOf(config.max_completion_length, 1 + p * config.num_generations + g),
      end: "length",
    }))
  );
}

/**
 * Records a step of a shape for a device.
 * @throws Error when the device cannot multiply in the precision that is asked for
 */
export async function recordStep(
  named: NamedShape,
  device: Device,
  options: StepOptions,
): Promise<RecordedStep> {
  const { shape, promptTokens: P } = named;
  const config = configOf(named, options);
  const batch = batchShape(config);
  const format = config.use_peft ? "bf16" : "f32";
  const models = plannedModels({ shape, format, promptTokens: P, evalPrompts: 0 }, config);
  const before = matmulPrecision();
  const { hidden: D, intermediate: F, layers, heads, kvHeads, vocab } = shape;
  const scoreBytes = SCORE_MODELS.length * 2 *
    (layers * (2 * D * D + 2 * D * D * kvHeads / heads + 3 * D * F) + vocab * D);
  const budget = PLANNED_SHARE * device.memoryBytes - scoreBytes;
  const plan = await fittingPlan(
    models,
    config,
    batch,
    budget,
    (models, config, shape, rows) => planMemory(models, config, shape, rows, device.seen),
  );
  const { rowsPerPass } = plan;
  const C = config.max_completion_length;
  const group = config.num_generations;
  const tracker = trackPlace(P, group);
  const readers = Math.min(rowsPerPass, group);
  const passSeen: Seen = { ...ALONE, sequence: C, prefix: P - 1, readers };
  const promptSeen: Seen = { ...ALONE, sequence: P - 1 };
  const recording = await rehearse(async () => {
    setMatmulPrecision(config.matmul_precision);
    try {
      const policy = await models.makePolicy();
      const learner = models.makeLearner(policy, config, { rowsPerPass });
      const score = scoreModelOf(learner.policy);
      const both = { prompts: promptSeen, passes: passSeen };
      tellPasses({ ...both, replays: learner.replays.policy, phase: "training" }, tracker);
      tellPasses({ ...both, replays: learner.replays.reference, phase: "reference" }, tracker);
      const scored = {
        prompts: { ...ALONE, sequence: P },
        passes: { ...ALONE, sequence: C, prefix: P, readers: group },
      };
      tellPasses({ ...scored, replays: score.replays, phase: "score" }, tracker);
      const prompts = Array.from({ length: batch.promptsPerGeneration }, (_, p) => idsOf(P, 100 * (p + 1)));
      const rollouts = rolloutsOf(prompts, config);
      return await recordCalls(tracker.placeOf, async () => {
        tracker.enter("prefill", { ...ALONE, sequence: P });
        const generator = createGenerator(learner.policy, {
          ...samplingOptions(learner.policy, config),
          eosIds: NO_END,
        });
        await generator.generate({ prompts, groupSize: group, seed: 1, step: 1 });
        generator.dispose();
        tracker.enter("score", ALONE);
        const texts = rollouts.map(({ prompt, tokens }) => [...prompt.ids, ...tokens]);
        for (const _model of SCORE_MODELS) {
          for (let start = 0; start < texts.length; start += config.scorer_batch_size) {
            await scoreSequences(score, texts.slice(start, start + config.scorer_batch_size));
          }
        }
        tracker.enter("reference", ALONE);
        const prepared = prepareUpdate(learner, rollouts, 1, batch.updatesPerGeneration, config);
        tracker.enter("training", ALONE);
        await updatePolicy(learner, prepared, {
          combined: rollouts.map((_, i) => i % 3),
          learningRates: Array<number>(batch.updatesPerGeneration).fill(1e-6),
          config,
        });
      });
    } finally {
      setMatmulPrecision(before);
    }
  }, device.seen);
  return { ...recording, config, tokenSteps: C - 1, rowsPerPass, peakBytes: plan.peakBytes + scoreBytes };
}
