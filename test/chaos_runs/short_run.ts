/** A run of seconds with checkpoints and evaluations amid its steps, to be killed and signalled. */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { trainArgs } from "../e2e/program.ts";

export const STEPS = 4;
/** What the scorer is asked for in such a run: a request a step, and one an evaluation, after steps 2 and 4. */
export const REQUESTS = { step: [1, 2, 4, 5], evaluation: [3, 6] };
const EVAL_PROMPTS = ["How do I bake bread?", "Say hello.", "What is the sea?"];

/** Arguments of a run in `folder`, which is there, whose completions are judged at `scorerUrl`. */
export function shortRunArgs(
  folder: string,
  scorerUrl: string,
  settings: Record<string, unknown> = {},
): string[] {
  // Beside the folders, for a run's state names it.
  const evalFile = join(dirname(folder), "eval.jsonl");
  writeFileSync(evalFile, EVAL_PROMPTS.map((prompt) => `${JSON.stringify({ prompt })}\n`).join(""));
  return trainArgs(folder, {
    scorer_url: scorerUrl,
    eval_jsonl: evalFile,
    max_steps: STEPS,
    save_steps: 2,
    eval_on_start: false,
    eval_every: 2,
    max_completion_length: 32,
    ...settings,
  });
}
