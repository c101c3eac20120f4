/** Models evaluated and their results written: what `eval` loads once its settings are right. */
import { type EvaluationEvents, writeEvaluation } from "../assembly/evaluation.ts";
import { evaluateSubjects, type EvaluationsOptions, type Subject } from "../assembly/evaluations.ts";
import { assertModelNames, modelPlaces } from "../assembly/hub.ts";
import { servesScoreModels } from "../assembly/judges.ts";
import type { RunConfig } from "../config/sweep.ts";
import { summaryLine } from "../evaluate/summary.ts";
import { openGpu } from "../gpu/device.ts";
import { withoutDriverNoise } from "./terminal/driver_noise.ts";
import type { TerminalOutput } from "./terminal/output.ts";

interface Evaluations extends Pick<EvaluationsOptions, "folder" | "preset" | "lambda" | "kl" | "base"> {
  subjects: readonly Subject[];
}

/**
 * Prints a line for each subject, and the means of a model that is the only one.
 * @throws Error when a model, a file or the scorer, which it names, does not fit
 */
export async function evaluate(
  config: RunConfig,
  { subjects, ...options }: Evaluations,
  events: EvaluationEvents,
  output: TerminalOutput,
): Promise<void> {
  const { folder, base } = options;
  const all = [...base ? [base] : [], ...subjects];
  const models = all.filter(({ kind }) => kind === "model").map(({ name }) => name);
  const [, ...judges] = modelPlaces(config).map(({ name }) => name);
  const isScored = all.some(({ kind }) => kind !== "scored");
  await assertModelNames([...models, ...isScored ? judges : []]);
  const needsGpu = models.length > 0 || (isScored && servesScoreModels(config));
  if (needsGpu) await withoutDriverNoise(openGpu);
  const [evaluated] = await evaluateSubjects(config, subjects, {
    ...options,
    events,
    onSummary: ({ tag }, summary) => output.write(`${summaryLine(tag, summary)}\n`),
  });
  if (subjects.length === 1 && evaluated.model) {
    await writeEvaluation(folder, evaluated.model);
    output.write(`${JSON.stringify(evaluated.model.summary, null, 2)}\n`);
    output.write(`Written to ${folder}/eval.json and eval_samples.jsonl\n`);
  }
  const tags = subjects.map(({ tag }) => tag).join(", ");
  output.write(
    `For plotting scripts: _summary.json, _points.jsonl, _Rs.npy, _Cs.npy, _labels.npy and _scatter.png of ` +
      `${tags} in ${folder}\n`,
  );
}
