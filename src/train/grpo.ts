/** GRPO for a run: gradients of completions that are held against others of the same prompt. */
import type { RunConfig } from "../config/sweep.ts";
import { createGenerator, type GenerationProgress } from "../policy/decode/generate.ts";
import { plannedOptions } from "../policy/decode/options.ts";
import { samplerMayDiffer } from "../policy/precision.ts";
import { ruleNameOf } from "../rl/lambda/rules.ts";
import { type Algorithm, STEP_IN_PROGRESS } from "./algorithm.ts";
import { restoreRun } from "./checkpointing.ts";
import { type GenerationBatchOutcome, trainOnGenerationBatch } from "./generation_batch.ts";
import { assertUnhurried, scorerWhileWanted } from "./given_up.ts";
import { gatherSampled } from "./kept_completions.ts";
import type { Learner } from "./learner.ts";
import { judgeSteps } from "./nonfinite_steps.ts";
import { withOneShotLambda } from "./one_shot.ts";
import { isWriter, type Run, type TrainingDeps } from "./run.ts";
import { followingWeights } from "./reference_sync.ts";
import { samplerWarning } from "./sampler_warning.ts";

/** What is kept of each completion of all ranks; null where not every one is. */
async function keptOf({ deps, config }: Run, outcome: GenerationBatchOutcome) {
  return config.log_completions === "all" ? await gatherSampled(deps.communicator, outcome) : null;
}

export function grpo(deps: TrainingDeps, config: RunConfig, learner: Learner): Algorithm {
  const { runDir, communicator, inputs } = deps;
  return {
    restore: (onSkipped) =>
      restoreRun(runDir, {
        config,
        communicator,
        optimizer: learner.optimizer,
        following: followingWeights(learner, config),
        inputs,
      }, onSkipped),
    open(run, _start, asked) {
      const generator = createGenerator(learner.policy, plannedOptions(learner.policy, config));
      const isQuiet = samplerMayDiffer(config) || !isWriter(deps);
      const warnOfSampler = samplerWarning(isQuiet, deps.events.onMessage);
      const scorer = scorerWhileWanted(deps.scorer, asked, STEP_IN_PROGRESS);
      const batchDeps = (step: number) => ({
        ...deps,
        scorer,
        config,
        learner,
        generator,
        journal: run.journal,
        shape: run.shape,
        totalSteps: run.steps,
        onGenerating(generated: GenerationProgress) {
          assertUnhurried(deps, STEP_IN_PROGRESS);
          deps.events.onGenerating?.(step, generated);
        },
      });
      const onMessage = isWriter(deps) ? deps.events.onMessage : () => {};
      return Promise.resolve({
        begin: (start) =>
          ruleNameOf(config) === "one_shot"
            ? withOneShotLambda(batchDeps(start.step), start, onMessage)
            : Promise.resolve(start),
        async advance(progress) {
          const outcome = await trainOnGenerationBatch(batchDeps(progress.step), progress);
          return {
            progress: outcome.progress,
            texts: outcome.texts,
            judgements: outcome.record,
            async log() {
              const row = await run.tracker.logStep(
                outcome.record,
                outcome.texts,
                await keptOf(run, outcome),
              );
              warnOfSampler(row);
              return row;
            },
            judge: () => judgeSteps(run, outcome),
          };
        },
        dispose: () => generator.dispose(),
      });
    },
  };
}
