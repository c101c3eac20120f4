/**
 * Trains one step of a model of a real shape with random weights: does it fit, how long does each phase take, and does
 * the memory plan hold? Completions of random weights run to their full length, which is what the plan counts with.
 *
 *   node --import tsx bench/shape.ts 160m lora|full [KEY=VALUE...]     (two minutes on two cores; 0.4 GB of disk)
 *   node --import tsx bench/shape.ts 7b lora [KEY=VALUE...]            (a GPU with 80 GB; 14 GB of disk)
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type LlamaShape, writeRandomLlama } from "./random_llama.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const QUICKSTART = join(ROOT, "models", "quickstart", "policy");

interface Trial {
  shape: LlamaShape;
  /** Settings under which a step is of a size that the machine in mind bears. */
  settings: Record<string, unknown>;
}

const TRIALS: Record<string, Trial> = {
  // The shape of JackFram/llama-160m.
  "160m": {
    shape: { hidden: 768, intermediate: 3072, layers: 12, heads: 12, kvHeads: 12, vocab: 32000 },
    settings: {
      num_generations: 4,
      per_device_train_batch_size: 2,
      gradient_accumulation_steps: 4,
      max_completion_length: 24,
    },
  },
  // TinyLlama.
  "1b": {
    shape: { hidden: 2048, intermediate: 5632, layers: 22, heads: 32, kvHeads: 4, vocab: 32000 },
    settings: {
      num_generations: 30,
      per_device_train_batch_size: 4,
      gradient_accumulation_steps: 15,
      max_completion_length: 512,
    },
  },
  // Llama 7B and Alpaca-7B.
  "7b": {
    shape: { hidden: 4096, intermediate: 11008, layers: 32, heads: 32, kvHeads: 32, vocab: 32000 },
    settings: {
      num_generations: 30,
      per_device_train_batch_size: 1,
      gradient_accumulation_steps: 60,
      max_completion_length: 512,
    },
  },
};

const [size, mode, ...overrides] = process.argv.slice(2);
const trial = TRIALS[size];
if (!trial || (mode !== "lora" && mode !== "full")) {
  console.error(`usage: shape.ts ${Object.keys(TRIALS).join("|")} lora|full [KEY=VALUE...]`);
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
    use_peft: mode === "lora",
    ...trial.settings,
  };
  const set = Object.entries(settings).flatMap((
    [key, value],
  ) => ["--set", `${key}=${JSON.stringify(value)}`]);
  writeFileSync(join(dir, "settings.json"), JSON.stringify(settings));
  const runtime = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--unstable-webgpu"]
    : ["--import", "tsx"];
  const args = [
    join(ROOT, "src/cli/main.ts"),
    "train",
    "--config",
    join(ROOT, "configs/quickstart.yaml"),
    ...set,
  ];
  const given = overrides.flatMap((override) => ["--set", override]);
  const { status } = spawnSync(process.execPath, [...runtime, ...args, ...given], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(dir, { recursive: true });
}
