/** Evolution strategies for a run: iterations, the replay log, and how a run goes on from it. */
import { join } from "node:path";
import { assertResumable, changesBetween, resumeIdentity, resumeSettings } from "../../config/resume.ts";
import type { RunConfig } from "../../config/sweep.ts";
import { type AppendLog, openAppendLog } from "../../io/records/append_log.ts";
import { membersOf } from "../../rl/es.ts";
import { REPLAY_FILE } from "../../tracking/run_records.ts";
import { EMPTY_SCATTER } from "../../tracking/scatter_window.ts";
import { stateAfter } from "../../tracking/tracker.ts";
import { type Algorithm, STEP_IN_PROGRESS } from "../algorithm.ts";
import { type RestoredRun, restoreRun } from "../checkpointing.ts";
import { assertUnhurried, scorerWhileWanted } from "../given_up.ts";
import type { Learner } from "../learner.ts";
import { DivergedError, smallerRate } from "../nonfinite_steps.ts";
import { initialLambdas, isWriter, type Run, type TrainingDeps } from "../run.ts";
import { assertSameInputs, promptChanges } from "../run_inputs.ts";
import { iterate, type IterationOutcome } from "./iteration.ts";
import { openPopulation } from "./open_population.ts";
import type { Population } from "./population.ts";
import { readReplayLog, type ReplayRow, type ReplayStart } from "./replay_log.ts";

/** Does to the weights what an iteration did. */
export async function replay(
  population: Population,
  config: RunConfig,
  { step, seeds, coefficients }: Pick<ReplayRow, "step" | "seeds" | "coefficients">,
): Promise<void> {
  await population.rollouts(membersOf(step, config), { start: 0, end: 0 }, { prompts: [] });
  population.update(seeds.map((seed, n) => ({ seed, coefficient: coefficients[n] })));
}

/** @param learner as the run begins: its weights say what noise is rounded to */
export async function evolutionStrategies(
  deps: TrainingDeps,
  config: RunConfig,
  learner: Learner,
): Promise<Algorithm> {
  const { runDir, communicator, inputs, tokenizer } = deps;
  const { optimizer, policy } = learner;
  const path = join(runDir, REPLAY_FILE);
  const population = await openPopulation({ policy, tokenizer, config }, communicator.size);
  const identity = resumeIdentity(config, communicator.size);
  const settings = resumeSettings(config, communicator.size);
  const start: ReplayStart = {
    step: 0,
    noise: config.es_noise,
    sigma: config.es_sigma,
    identity,
    settings,
    inputs,
  };

  /** The newest checkpoint, or the start, and the iterations that the log has beyond it. */
  async function restore(onSkipped: (dir: string, reason: string) => void): Promise<RestoredRun | null> {
    const log = await readReplayLog(path);
    const saved = await restoreRun(
      runDir,
      { config, communicator, optimizer, following: null, inputs },
      onSkipped,
    );
    if (log === null) return saved;
    assertResumable(log.start.identity, identity, path);
    assertSameInputs(log.start.inputs, inputs, {
      allowNewPrompts: config.allow_new_prompts,
      checkpoint: path,
    });
    const restored: RestoredRun = saved ?? {
      dir: runDir,
      progress: {
        step: 0,
        lambdas: initialLambdas(config),
        rankLambdas: null,
        numTokens: 0,
        entropyControl: null,
      },
      savedStep: -1,
      tracker: { scatter: EMPTY_SCATTER },
      best: null,
      changes: [...changesBetween(log.start.settings, settings), ...promptChanges(log.start.inputs, inputs)],
    };
    for (const row of log.rows) {
      if (row.step <= restored.progress.step) continue;
      if (row.step !== restored.progress.step + 1) break; // a log that was cut, or removed and begun again
      await replay(population, config, row);
      restored.progress = row.progress;
      restored.tracker = stateAfter(restored.tracker, row.step, row, config);
    }
    optimizer.updates = restored.progress.step;
    return restored.progress.step === 0 ? null : restored;
  }

  async function openLog(step: number): Promise<AppendLog | null> {
    if (!isWriter(deps)) return null;
    const isBegun = step > 0 && await readReplayLog(path) !== null;
    const log = openAppendLog(path, isBegun ? step : -1);
    if (!isBegun) log.append({ ...start });
    return log;
  }

  return {
    restore,
    async open(run, { step: firstStep }, asked) {
      const log = await openLog(firstStep);
      const scorer = scorerWhileWanted(deps.scorer, asked, STEP_IN_PROGRESS);
      return {
        async advance(progress) {
          const outcome = await iterate({
            ...deps,
            config,
            scorer,
            population,
            journal: run.journal,
            onGenerating(generated) {
              assertUnhurried(deps, STEP_IN_PROGRESS);
              deps.events.onGenerating?.(progress.step, generated);
            },
            onWeights: (step) => void (optimizer.updates = step === "moving" ? NaN : step),
          }, progress);
          return {
            progress: outcome.progress,
            texts: outcome.texts,
            judgements: outcome.record.unperturbed,
            async log() {
              const row = await run.tracker.logIteration(outcome.record, outcome.texts);
              log?.append({ ...rowOf(outcome) });
              run.journal.clear(); // what is in the log is not done again
              return row;
            },
            judge: () => Promise.resolve(judge(run, outcome)),
          };
        },
        dispose() {
          population.dispose();
          log?.close();
        },
      };
    },
  };
}

function rowOf({ terms, progress, record: { unperturbed } }: IterationOutcome): ReplayRow {
  return {
    step: progress.step,
    seeds: (terms ?? []).map(({ seed }) => seed),
    coefficients: (terms ?? []).map(({ coefficient }) => coefficient),
    progress,
    rewards: [...unperturbed.rewards],
    costs: [...unperturbed.costs],
  };
}

/** @throws DivergedError when max_nonfinite_steps iterations in a row have moved nothing */
function judge(run: Run, { terms, progress: { step }, record: { fitness } }: IterationOutcome): void {
  run.skippedInRow = terms === null ? run.skippedInRow + 1 : 0;
  if (terms !== null) return;
  const { config, deps } = run;
  const found = `the fitness of a member is ${fitness.find((value) => !Number.isFinite(value))}`;
  if (isWriter(deps)) {
    deps.events.onMessage(
      `Skipped step ${step}: ${found}; ${run.skippedInRow} in a row, the run stops at ${config.max_nonfinite_steps} ` +
        "(max_nonfinite_steps)",
    );
  }
  if (run.skippedInRow < config.max_nonfinite_steps) return;
  throw new DivergedError(
    `Training diverged at step ${step}: ${found}, and ${run.skippedInRow} steps in a row moved nothing: weights are ` +
      `as before them. Look at the scorer's scores, or go on with ${smallerRate(config)}`,
  );
}
