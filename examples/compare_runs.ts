/**
 * Trains twice, with two weights of the KL term, and lays the runs side by side.
 *
 *   npx tsx compare_runs.ts [RUN_FOLDER RUN_FOLDER ...]    (given folders are compared as they are)
 *   deno run -A --unstable-webgpu compare_runs.ts
 *
 * In a checkout: node --import tsx examples/compare_runs.ts
 * STEPS and OUT say how long each trains and where to.
 */
import process from "node:process";
import { buildReport, closeGpu, readRun, train } from "grpo-webgpu";

const { STEPS = "30", OUT = "outputs/compare_runs" } = process.env;
const folders = process.argv.slice(2);

if (folders.length === 0) {
  for (const beta of [0.02, 0.2]) {
    const { runDir } = await train({
      model: "models/quickstart/policy",
      prompts: "models/quickstart/train_prompts.jsonl",
      config: {
        // The score models of the quickstart judge.
        reward_model: "models/quickstart/reward",
        cost_model: "models/quickstart/cost",
        output_dir: OUT,
        beta,
        max_steps: Number(STEPS),
        num_generations: 8,
        per_device_train_batch_size: 32,
        gradient_accumulation_steps: 1,
        max_completion_length: 32,
        learning_rate: 1e-3,
      },
    });
    folders.push(runDir);
  }
}

for (const folder of folders) {
  const { name, rows } = await readRun(folder);
  const last = rows.slice(-5);
  const mean = (metric: "helpfulness/mean" | "cost/mean" | "kl") =>
    (last.reduce((sum, row) => sum + (row[metric] ?? NaN), 0) / last.length).toFixed(3);
  console.log(
    `${name}  reward ${mean("helpfulness/mean")}  cost ${mean("cost/mean")}  KL ${mean("kl")}` +
      `  (mean of the last ${last.length} of ${rows.length} steps)`,
  );
}
console.log(`Side by side: ${await buildReport(folders)}`);
await closeGpu();
