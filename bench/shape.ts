/**
 * Trains one step of a model of a real shape with random weights: does it fit, how long does each phase take, and does
 * the memory plan hold? Completions of random weights run to their full length, which is what the plan counts with.
 *
 *   node --import tsx bench/shape.ts 160m lora|full [KEY=VALUE...]     (two minutes on two cores; 0.4 GB of disk)
 *   node --import tsx bench/shape.ts 7b lora [KEY=VALUE...]            (a GPU with 80 GB; 14 GB of disk)
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, runFile, setArgs } from "./program.ts";
import { writeRandomLlama } from "./random_llama.ts";
import { SHAPES } from "./shapes.ts";

const QUICKSTART = join(ROOT, "models", "quickstart", "policy");

const [size, mode, ...overrides] = process.argv.slice(2);
const trial = SHAPES[size];
if (!trial || (mode !== "lora" && mode !== "full")) {
  console.error(`usage: shape.ts ${Object.keys(SHAPES).join("|")} lora|full [KEY=VALUE...]`);
  process.exit(1);
}

const dir = mkdtempSync(join(tmpdir(), "grpo-shape-"));
try {
  const model = join(dir, "model");
  mkdirSync(model);
  await writeRandomLlama(model, trial.shape, 4);
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    copyFileSync(join(QUICKSTART, file), join(model, file));
  }
  const settings = {
    model_name: model,
    output_dir: join(dir, "outputs"),
    eval_jsonl: null,
    max_steps: 1,
    save_steps: 0,
    readback_every: 16,
    lora_target_modules: "all-linear",
    ...trial.settings,
    use_peft: mode === "lora",
  };
  const own = Object.entries(settings).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const args = ["train", "--config", "configs/quickstart.yaml", ...setArgs([...own, ...overrides])];
  process.exitCode = runFile("src/cli/main.ts", args);
} finally {
  rmSync(dir, { recursive: true });
}
