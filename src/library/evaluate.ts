/** An evaluation as a call. */
import { type EvaluatedModel, evaluateModel } from "../assembly/evaluation.ts";
import { type Judges, scorerOf, withConstraints } from "./judging.ts";
import { promptsOf, type PromptSource } from "./rows.ts";
import { requireOne, type Settings, settingsOf } from "./settings.ts";

export interface EvaluateOptions extends Judges {
  /** A folder, a hub id, or an adapter's folder: the setting model_name. */
  model?: string;
  /** A file (the setting eval_jsonl) or rows. */
  prompts?: PromptSource;
  config?: Settings;
  /** In combined = reward - lambda * cost, of each cost. Default: the last of the model's run, else lambda_cost. */
  lambda?: number;
  /** After each batch of completions. */
  onProgress?(promptsDone: number, prompts: number): void;
  onMessage?(text: string): void;
}

/**
 * Completes prompts greedily and has them judged, as the command `eval` does; prints and writes nothing.
 *
 * @throws ConfigError when a setting does not fit; it lists every problem
 * @throws RangeError when model or prompts are missing
 * @throws ScorerUnavailableError when no healthy scorer answers
 * @throws Error when a model, a file or a function, which it names, does not fit or fails
 */
export async function evaluate(options: EvaluateOptions): Promise<EvaluatedModel> {
  const { model, prompts, config: given = {}, onMessage, onProgress } = options;
  const settings = withConstraints("evaluate()", given, options);
  requireOne("evaluate()", "model", "model_name", model !== undefined || settings.model_name !== undefined);
  requireOne("evaluate()", "prompts", "eval_jsonl", prompts !== undefined || !!settings.eval_jsonl);
  const read = prompts === undefined
    ? undefined
    : promptsOf(prompts, "prompts", settings.prompt_key ?? "prompt");
  const config = settingsOf("evaluate()", settings, { model_name: model, eval_jsonl: read?.name });
  return await evaluateModel(config, { onMessage, onCompleted: onProgress }, {
    lambda: options.lambda,
    scorer: scorerOf(options),
    rows: read?.rows,
  });
}
