/** Steps whose loss or gradient was infinite or NaN are skipped and counted; too many in a row end the run. */
import { join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { advantagesOf } from "../rl/composition.ts";
import { save } from "./due.ts";
import type { GenerationBatchOutcome } from "./generation_batch.ts";
import { isWriter, type Run } from "./run.ts";
import type { SkippedUpdate } from "./update.ts";

/** Too many steps in a row could not be made. */
export class DivergedError extends Error {
  override readonly name = "DivergedError";
}

/** Folder, in the run's, of the batches that a run has stopped at. */
const STUDY_FOLDER = "nonfinite";

const causeOf = ({ loss, gradNorm }: SkippedUpdate) =>
  Number.isFinite(loss) ? `the gradient norm is ${gradNorm}` : `the loss is ${loss}`;

/** JSON has no such numbers, and they are what the file is read for. */
const spelled = (_: string, value: unknown) =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

/** Writes what a step was to be made of, completion by completion, each rank its own. @returns the file */
async function writeBatch(
  { deps: { runDir, communicator }, config }: Run,
  { rollouts, record }: GenerationBatchOutcome,
  step: number,
  { losses }: SkippedUpdate,
): Promise<string> {
  const { rank, size } = communicator;
  const first = rank * rollouts.length;
  const advantages = advantagesOf(record, config.num_generations, config.scale_rewards);
  const rows = rollouts.map(({ prompt, text, tokens, logprobs, end }, i) => ({
    prompt: prompt.user,
    completion: text,
    end,
    reward: record.rewards[first + i],
    cost: record.costs[first + i],
    combined: record.combined[first + i],
    advantage: advantages[first + i],
    loss: losses.get(i) ?? null,
    prompt_ids: prompt.ids,
    token_ids: tokens,
    logprobs,
  }));
  const folder = join(runDir, STUDY_FOLDER);
  await makeFolders(folder);
  const path = join(folder, size === 1 ? `step-${step}.jsonl` : `step-${step}.rank-${rank}.jsonl`);
  await writeFileAtomic(path, rows.map((row) => `${JSON.stringify(row, spelled)}\n`).join(""));
  return path;
}

/** A step size to go on with. */
export function smallerRate(
  { algorithm, learning_rate, es_alpha }: Pick<RunConfig, "algorithm" | "learning_rate" | "es_alpha">,
): string {
  const [key, value] = algorithm === "es" ? ["es_alpha", es_alpha] : ["learning_rate", learning_rate];
  return `--set ${key}=${Number((value / 10).toPrecision(3))}`;
}

/**
 * Says which steps of a generation batch were skipped, and ends the run where max_nonfinite_steps were in a row: the
 * batch is written down, and the last step saved, whose weights are those of the last step that was made.
 * @throws DivergedError when it ends: on every rank, since all skip the same steps
 */
export async function judgeSteps(run: Run, outcome: GenerationBatchOutcome): Promise<void> {
  const { deps, config } = run;
  const { skipped, record, progress } = outcome;
  const firstStep = record.step - record.optimizerSteps + 1;
  let last: { step: number; update: SkippedUpdate } | null = null;
  for (let i = 0; i < record.optimizerSteps && run.skippedInRow < config.max_nonfinite_steps; i++) {
    const update = skipped.find((each) => each.update === i);
    run.skippedInRow = update ? run.skippedInRow + 1 : 0;
    if (!update) continue;
    last = { step: firstStep + i, update };
    if (isWriter(deps)) {
      deps.events.onMessage(
        `Skipped step ${last.step}: ${causeOf(update)}; ${run.skippedInRow} in a row, the run stops at ` +
          `${config.max_nonfinite_steps} (max_nonfinite_steps)`,
      );
    }
  }
  if (last === null || run.skippedInRow < config.max_nonfinite_steps) return;
  const path = await writeBatch(run, outcome, last.step, last.update);
  await save(run, progress);
  const steps = run.skippedInRow === 1
    ? "and the step was"
    : `and so were ${run.skippedInRow} steps in a row`;
  throw new DivergedError(
    `Training diverged at step ${last.step}: ${
      causeOf(last.update)
    }, ${steps} skipped: weights and moments are as ` +
      `the step before had left them. The completions, with scores, log-probs and losses, are in '${path}'. ` +
      `Go on with ${smallerRate(config)}, or a smaller max_grad_norm`,
  );
}
