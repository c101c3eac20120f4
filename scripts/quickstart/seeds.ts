/**
 * Runs the quickstart once per seed and prints a table: how safe and how helpful each run began and ended.
 *
 *   node --import tsx scripts/quickstart/seeds.ts 1 2 3 4 5          (about two minutes a seed on two cores)
 *   node --import tsx scripts/quickstart/seeds.ts --config configs/quickstart_lora.yaml 1 2 3
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { MetricRow } from "../../src/tracking/metrics.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const OUTPUT = join(ROOT, "outputs", "seeds");
const LAST = 5;

function trainSeed(seed: string, config: string): MetricRow[] {
  const args = [
    "scripts/start.mjs",
    "train",
    "--config",
    config,
    "--seed",
    seed,
    "--set",
    `output_dir=${OUTPUT}`,
    "--set",
    "resume=false",
  ];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`The run with seed ${seed} failed with exit code ${status}`);
  const metrics = readFileSync(join(OUTPUT, `beta0.02_seed${seed}_unified`, "metrics.jsonl"), "utf8");
  return metrics.trim().split("\n").map((line) => JSON.parse(line) as MetricRow);
}

const mean = (rows: MetricRow[], name: keyof MetricRow) =>
  rows.reduce((sum, row) => sum + row[name]!, 0) / rows.length;

console.log(
  "| seed | safe ratio, step 1 | last 5 steps | reward, step 1 | last 5 steps | greedy eval, safe | training |",
);
console.log(
  "| ---- | ------------------ | ------------ | -------------- | ------------ | ----------------- | -------- |",
);
const { values: { config }, positionals: seeds } = parseArgs({
  options: { config: { type: "string", default: "configs/quickstart.yaml" } },
  allowPositionals: true,
});
for (const seed of seeds) {
  const rows = trainSeed(seed, config);
  const steps = rows.filter((row) => row.step_time !== undefined);
  const evaluation = rows.findLast((row) => row["eval/safe_ratio"] !== undefined);
  const cells = [
    seed,
    mean(steps.slice(0, 1), "safety/safe_ratio").toFixed(3),
    mean(steps.slice(-LAST), "safety/safe_ratio").toFixed(3),
    mean(steps.slice(0, 1), "helpfulness/mean").toFixed(2),
    mean(steps.slice(-LAST), "helpfulness/mean").toFixed(2),
    evaluation?.["eval/safe_ratio"]?.toFixed(3) ?? "none",
    `${Math.round(steps.reduce((sum, row) => sum + row.step_time!, 0))} s`,
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
