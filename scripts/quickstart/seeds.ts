/**
 * Runs the quickstart once per seed and prints a table: how safe and how helpful each run began and ended, and the
 * first digits of its weights' SHA-256, which are the same in Node and in Deno.
 *
 *   node --import tsx scripts/quickstart/seeds.ts 1 2 3 4 5          (about a minute a seed on two cores)
 *   node --import tsx scripts/quickstart/seeds.ts --config configs/quickstart_lora.yaml 1 2 3
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { MetricRow } from "../../src/tracking/metrics.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const LAST = 5;

interface SeedRun {
  rows: MetricRow[];
  /** First digits of the SHA-256 of what it trained: all weights, or adapters. */
  weights: string;
}

function trainSeed(seed: string, config: string): SeedRun {
  // Not among the files of another configuration.
  const output = join(ROOT, "outputs", "seeds", basename(config, ".yaml"));
  const args = [
    "scripts/start.mjs",
    "train",
    "--config",
    config,
    "--seed",
    seed,
    "--set",
    `output_dir=${output}`,
    "--set",
    "resume=false",
  ];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`The run with seed ${seed} failed with exit code ${status}`);
  const folder = join(output, `beta0.02_seed${seed}_unified`);
  const metrics = readFileSync(join(folder, "metrics.jsonl"), "utf8");
  const rows = metrics.trim().split("\n").map((line) => JSON.parse(line) as MetricRow);
  const [file] = ["adapter_model.safetensors", "model.safetensors"].filter((name) =>
    existsSync(join(folder, name))
  );
  const weights = createHash("sha256").update(readFileSync(join(folder, file))).digest("hex").slice(0, 12);
  return { rows, weights };
}

const HEADINGS = [
  "seed",
  "safe ratio, step 1",
  "last 5 steps",
  "reward, step 1",
  "last 5 steps",
  "greedy eval, safe",
  "training",
  "weights",
];
const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;

const mean = (rows: MetricRow[], name: keyof MetricRow) =>
  rows.reduce((sum, row) => sum + row[name]!, 0) / rows.length;

console.log(`${row(HEADINGS)}\n${row(HEADINGS.map((heading) => "-".repeat(heading.length)))}`);
const { values: { config }, positionals: seeds } = parseArgs({
  options: { config: { type: "string", default: "configs/quickstart.yaml" } },
  allowPositionals: true,
});
for (const seed of seeds) {
  const { rows, weights } = trainSeed(seed, config);
  const steps = rows.filter((row) => row.step_time !== undefined);
  const evaluation = rows.findLast((row) => row["eval/safe_ratio"] !== undefined);
  const cells = [
    seed,
    mean(steps.slice(0, 1), "safety/safe_ratio").toFixed(3),
    mean(steps.slice(-LAST), "safety/safe_ratio").toFixed(3),
    mean(steps.slice(0, 1), "helpfulness/mean").toFixed(2),
    mean(steps.slice(-LAST), "helpfulness/mean").toFixed(2),
    evaluation?.["eval/safe_ratio"]?.toFixed(3) ?? "none",
    `${Math.round(steps.reduce((sum, { step_time }) => sum + step_time!, 0))} s`,
    weights,
  ];
  console.log(row(cells));
}
