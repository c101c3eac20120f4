/** The `eval` command: greedy completions of the eval prompts, scored. */
import { Option } from "commander";
import { join } from "node:path";
import { mkdir } from "node:fs/promises";
import { sweepRuns } from "../config/sweep.ts";
import { evaluatePolicy } from "../evaluate/evaluate.ts";
import { openGpu } from "../gpu/device.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { readPrompts } from "../io/prompts/prompts.ts";
import { summarizeSafety } from "../rl/quadrants.ts";
import { evalRow } from "../tracking/metrics.ts";
import { encodePrompts } from "../train/prompts.ts";
import { resolveModel } from "../assembly/hub.ts";
import { loadPolicy } from "../assembly/models.ts";
import { configCommand, type ConfigOptions, isDryRun, readConfig } from "./options.ts";
import { openScorer } from "../assembly/scorer.ts";

interface EvalOptions extends ConfigOptions {
  output?: string;
}

/** `eval`: prints the means, writes every completion with its scores; returns the exit code. */
export async function evalCommand(args: string[]): Promise<number> {
  const command = configCommand("eval", "Complete the eval prompts greedily and score them.")
    .addOption(
      new Option("--output <dir>", "folder for eval.json and eval_samples.jsonl (default: output_dir)"),
    )
    .parse(args, { from: "user" });
  const options = command.opts<EvalOptions>();
  const settings = await readConfig(options);
  if (isDryRun(options, settings)) return 0;
  const config = sweepRuns(settings)[0];
  if (config.eval_jsonl === null) {
    throw new TypeError("Cannot evaluate: eval_jsonl is null; set it to a file of prompts");
  }
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const { info } = await openGpu();
  const { name: modelName } = await resolveModel(config.model_name);
  const { policy, tokenizer } = await loadPolicy(modelName, "frozen");
  const rows = await readPrompts(config.eval_jsonl, { promptKey: config.prompt_key });
  const prompts = encodePrompts(tokenizer, rows, config.max_prompt_length);
  const { scorer, close } = await openScorer(config, info.name, print);
  try {
    const onProgress = (done: number, all: number) => print(`generated ${done}/${all}`);
    const outcome = await evaluatePolicy(
      { policy, tokenizer, scorer, prompts, config, onProgress },
      config.lambda_cost,
    );
    const summary = {
      model_name: modelName,
      ...evalRow({ step: 0, ...outcome }),
      ...summarizeSafety(outcome.rewards, outcome.costs),
    };
    const samples = outcome.prompts.map((prompt, i) => ({
      prompt,
      completion: outcome.completions[i],
      reward: outcome.rewards[i],
      cost: outcome.costs[i],
    }));
    const folder = options.output ?? config.output_dir;
    await mkdir(folder, { recursive: true });
    await writeFileAtomic(join(folder, "eval.json"), `${JSON.stringify(summary, null, 2)}\n`);
    await writeFileAtomic(
      join(folder, "eval_samples.jsonl"),
      samples.map((sample) => `${JSON.stringify(sample)}\n`).join(""),
    );
    print(JSON.stringify(summary, null, 2));
    print(`Written to ${folder}/eval.json and eval_samples.jsonl`);
    return 0;
  } finally {
    await close();
  }
}
