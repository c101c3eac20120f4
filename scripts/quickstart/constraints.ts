/**
 * Trains the quickstart with each rule for lambda (and, where there are several, each composition of advantages), with
 * three seeds each, and writes the tables of docs/constraints.md. Half a minute a run on two cores; runs that are done
 * are not done again, so that it goes on where it was ended.
 *
 *   node --import tsx scripts/quickstart/constraints.ts
 *   node --import tsx scripts/quickstart/constraints.ts --only pid --dir outputs/constraints
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readRun } from "../../src/assembly/run_records.ts";
import { isConfigKey } from "../../src/config/schema.ts";
import type { MetricName, MetricRow } from "../../src/tracking/metrics.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PAGE = join(ROOT, "docs/constraints.md");
const SEEDS = [42, 43, 44];
/** Steps at the end over which a run is judged. */
const LAST = 10;

interface Variant {
  name: string;
  /** Beside those of configs/quickstart.yaml. */
  settings: Readonly<Record<string, string | number>>;
}

const RULES: readonly Variant[] = [
  { name: "log_ema", settings: {} },
  { name: "signed", settings: { lambda_rule: "signed" } },
  { name: "pid", settings: { lambda_rule: "pid", lambda_kp: 0.5, lambda_ki: 0.05, lambda_kd: 0.5 } },
  { name: "fixed", settings: { lambda_rule: "fixed" } },
  { name: "per_prompt", settings: { lambda_rule: "per_prompt" } },
  { name: "one_shot", settings: { lambda_rule: "one_shot" } },
  { name: "pessimistic", settings: { cost_bound: "pessimistic" } },
];

/** Each with log_ema; the first is the default, which is above. */
const COMPOSITIONS: readonly Variant[] = isConfigKey("advantage_composition")
  ? ["reward", "advantage", "gdpo", "ppo_lag"].map((name) => ({
    name,
    settings: { advantage_composition: name },
  }))
  : [];

/** The rows of a run, which is made where it is not there. */
async function rowsOf({ settings }: Variant, seed: number, dir: string): Promise<MetricRow[]> {
  const set = Object.entries({
    seed,
    output_dir: dir,
    save_steps: 0,
    debug_log_every: 0,
    logging_steps: 30,
    ...settings,
  }).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const args = ["scripts/start.mjs", "train", "--config", "configs/quickstart.yaml", ...set];
  execFileSync(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  return (await readRun(join(ROOT, dir, `beta0.02_seed${seed}_unified`))).rows;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

const valuesOf = (rows: readonly MetricRow[], name: MetricName): number[] =>
  rows.map((row) => row[name]).filter((value) => value !== undefined);

const meanAtEnd = (rows: readonly MetricRow[], name: MetricName) => mean(valuesOf(rows, name).slice(-LAST));

/** What the table says of a run. */
const COLUMNS: readonly (readonly [title: string, of: (rows: MetricRow[]) => number])[] = [
  ["safe ratio", (rows) => meanAtEnd(rows, "safety/safe_ratio")],
  ["J", (rows) => meanAtEnd(rows, "lambda/J_C_raw")],
  ["reward", (rows) => meanAtEnd(rows, "helpfulness/mean")],
  ["lambda, step 1", (rows) => valuesOf(rows, "lambda/value")[0]],
  ["most", (rows) => Math.max(...valuesOf(rows, "lambda/value"))],
  ["end", (rows) => valuesOf(rows, "lambda/value").at(-1)!],
  ["effective, end", (rows) => meanAtEnd(rows, "lambda/effective")],
  ["eval safe", (rows) => valuesOf(rows, "eval/safe_ratio").at(-1)!],
  ["unsafe at most", (rows) => valuesOf(rows, "eval/unsafe_share_high").at(-1)!],
  ["eval reward", (rows) => valuesOf(rows, "eval/mean_reward").at(-1)!],
];

/** The mean over the seeds, and from where to where they lie. */
function cell(values: readonly number[]): string {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(2));
  const middle = mean(values).toFixed(2);
  return low === high ? middle : `${middle} (${low} to ${high})`;
}

const settingsText = ({ settings }: Variant) => {
  const all = Object.entries(settings).map(([key, value]) => `\`${key}: ${value}\``);
  return all.length === 0 ? "the defaults" : all.join(", ");
};

async function tableOf(variants: readonly Variant[], dir: string): Promise<string[]> {
  const titles = ["settings", ...COLUMNS.map(([title]) => title)];
  const lines = [`| ${titles.join(" | ")} |`, `| --- |${" ---: |".repeat(COLUMNS.length)}`];
  for (const variant of variants) {
    const runs: MetricRow[][] = [];
    for (const seed of SEEDS) {
      process.stdout.write(`${variant.name}, seed ${seed}\n`);
      runs.push(await rowsOf(variant, seed, join(dir, variant.name)));
    }
    const cells = COLUMNS.map(([, of]) => cell(runs.map(of)));
    lines.push(`| ${[settingsText(variant), ...cells].join(" | ")} |`);
    process.stdout.write(`${lines.at(-1)}\n`);
  }
  return lines;
}

/** Puts a table in the place of what stands between its marks in the page. */
function write(name: string, lines: readonly string[]): void {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const text = readFileSync(PAGE, "utf8");
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) {
    throw new Error(`Cannot write ${PAGE}: required ${begin} and ${end}, found neither; add them`);
  }
  writeFileSync(PAGE, `${before}${begin}\n\n${lines.join("\n")}\n\n${end}${after}`);
}

const { values } = parseArgs({ options: { only: { type: "string" }, dir: { type: "string" } } });
const dir = values.dir ?? "outputs/constraints";
const wanted = (variants: readonly Variant[]) =>
  variants.filter(({ name }) => values.only === undefined || name === values.only);
for (const [name, variants] of [["rules", RULES], ["compositions", COMPOSITIONS]] as const) {
  const lines = await tableOf(wanted(variants), dir);
  if (values.only === undefined && variants.length > 0) write(name, lines);
}
