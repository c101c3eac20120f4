/** What a run says of itself before its first step. */
import { endsText } from "../../assembly/ends.ts";
import type { PlannedMemory } from "../../assembly/memory.ts";
import type { RunFacts } from "../../assembly/run.ts";
import { type BestConfig, bestMetricOf } from "../../rl/best_metric.ts";
import type { BatchShape } from "../../config/batch.ts";
import { formatBytes } from "../../config/units.ts";
import { escapeControls } from "../../config/controls.ts";
import { labelled, type Wrapped } from "./columns.ts";

/** What a run says about itself before its first step. */
export interface BannerFacts extends Omit<RunFacts, "memory"> {
  modelName: string;
  /** Who judges, in words. */
  judges: string;
  /** The GPU memory that is planned, and its parts. */
  memory: [total: string, parts: string];
  perDeviceTrainBatchSize: number;
  shape: BatchShape;
  /** Completions of a prompt: of its group, or one of each member. */
  numGenerations: number;
  /** Whether members of a population answer, and no gradients are computed; default: no. */
  isByNoise?: boolean;
  firstStep: number;
  maxSteps: number;
  /** How the best step is found and what becomes of it, in words; none where that is not asked for. */
  best?: string | null;
}

/**
 * The run in a few lines before it starts: on what, which model, and how a batch is made up.
 * @param columns of the terminal; left out, no line is wrapped
 */
export function bannerText(facts: BannerFacts, columns?: number): string {
  const trained = facts.trainedCount === facts.parameterCount
    ? ""
    : `, ${formatCount(facts.trainedCount)} in adapters trained`;
  const start = facts.firstStep > 1
    ? `${facts.firstStep} to ${facts.maxSteps} (resumed)`
    : `${facts.maxSteps}`;
  const entries: [label: string, text: Wrapped][] = [
    ["device", facts.device],
    ["precision", facts.precision],
    ["model", `${facts.modelName}  (${formatCount(facts.parameterCount)} parameters${trained})`],
    ["prompts", facts.promptFormat],
    ["ends at", endsText(facts.ends)],
    ["scorer", facts.judges],
    ["batch", batchParts(facts)],
    ["steps", start],
    ...(!facts.best ? [] : [["best step", facts.best] as [string, string]]),
    ["GPU memory", facts.memory[0]],
    ["", facts.memory[1].split(/(?<=,) /)],
    ["run", facts.runDir],
  ];
  const shown = (text: Wrapped) => typeof text === "string" ? escapeControls(text) : text.map(escapeControls);
  return labelled(entries.map(([label, text]) => [label, shown(text)]), columns);
}

/** "64 completions x 2 accumulation steps", "= 128 completions", "= 16 prompts x 8 per step". */
function batchParts(facts: BannerFacts): string[] {
  const { perDeviceTrainBatchSize: perDevice, shape, worldSize, numGenerations } = facts;
  const { updatesPerGeneration: updates, stepsPerGeneration: passes } = shape;
  const counted = (count: number, one: string, many: string) => `${count} ${count === 1 ? one : many}`;
  const completions = (count: number) => counted(count, "completion", "completions");
  if (facts.isByNoise) {
    return [
      `${counted(shape.promptsPerGeneration, "prompt", "prompts")} x ${numGenerations} members`,
      ...(worldSize === 1 ? [] : [`shared out over ${worldSize} devices`]),
      `= ${completions(shape.completionsPerGeneration)} per step`,
    ];
  }
  const times = updates === 1
    ? counted(passes, "accumulation step", "accumulation steps")
    : counted(passes, "pass", "passes");
  const prompts = `= ${counted(shape.promptsPerGeneration, "prompt", "prompts")} x ${numGenerations} per`;
  return [
    `${completions(perDevice)} x ${times}`,
    ...(worldSize === 1 ? [] : [`x ${worldSize} devices`]),
    `= ${completions(shape.completionsPerGeneration)}`,
    ...(updates === 1 ? [`${prompts} step`] : [`${prompts} generation,`, `trained on in ${updates} steps`]),
  ];
}

/** "the most eval/safe_ratio; its weights are the final ones; ends after 3 evaluations without improvement" */
export function bestStepText(config: BestConfig & { load_best_model_at_end: boolean }): string | null {
  const wanted = bestMetricOf(config);
  if (wanted === null) return null;
  const { early_stopping_patience: patience, load_best_model_at_end: isLoaded } = config;
  return [
    `the ${wanted.greaterIsBetter ? "most" : "least"} ${wanted.metric}`,
    isLoaded ? "its weights are the final ones" : "its checkpoint is kept",
    ...(patience === null ? [] : [`ends after ${patience} evaluations without improvement`]),
  ].join("; ");
}

/** The plan in two lines: "planned 1.2 GiB of 22 GiB", and by part. */
export function memoryLines({ plan, budget }: PlannedMemory, perDeviceBatchSize: number): [string, string] {
  const of = budget ? ` of ${formatBytes(budget.bytes)} (${budget.source})` : "";
  const split = plan.rowsPerPass === perDeviceBatchSize
    ? ""
    : plan.rowsPerPass > perDeviceBatchSize
    ? `, with ${plan.rowsPerPass} completions, of several passes, trained on at a time`
    : `, with ${plan.rowsPerPass} of ${perDeviceBatchSize} completions trained on at a time`;
  const again = plan.recomputesLayers ? ", layers run again in backward" : "";
  const parts = plan.parts.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  return [`planned ${formatBytes(plan.peakBytes)}${of}${split}${again}`, parts];
}

function formatCount(count: number): string {
  for (const [unit, size] of [["B", 1e9], ["M", 1e6], ["K", 1e3]] as const) {
    if (count >= size) return `${(count / size).toPrecision(3)}${unit}`;
  }
  return String(count);
}
