// Options that npm kept for itself: without "--" npm reads what stands behind `npm run train`, and the program would
// go on without it, on its defaults. npm leaves them in the environment, as npm_config_beta=0.5.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Options of a command that starts ranks, or speaks of such a run. */
const LAUNCH = { num_processes: false, config_file: false, deepspeed_config_file: false, gpu_ids: false };

/** Options of tasks. Those that take no value are true. @type {Record<string, Record<string, boolean>>} */
export const NPM_OPTIONS = {
  train: { config: false, beta: false, seed: false, set: false, dry_run: true, watch: true, ...LAUNCH },
  eval: {
    config: false,
    beta: false,
    seed: false,
    set: false,
    dry_run: true,
    model: false,
    base: false,
    models: false,
    scored: false,
    responses: false,
    preset: false,
    output: false,
    lambda: false,
    kl: true,
  },
  judge: {
    judge: false,
    judge_model: false,
    prompts: false,
    seed: false,
    concurrency: false,
    output: false,
  },
  doctor: {
    config: false,
    beta: false,
    seed: false,
    set: false,
    dry_run: true,
    model: false,
    gpu: false,
    ranks: false,
    ...LAUNCH,
  },
  scorer: {
    reward_model: false,
    cost_model: false,
    port: false,
    host: false,
    token_file: false,
    insecure: true,
    url_file: false,
    max_length: false,
    max_queue_tokens: false,
    reward_label: false,
    cost_label: false,
  },
  rollouts: { where: false, sort: false, limit: false, columns: false, json: true, report: false },
  "gpu-report": { small: true, part: false, out: false, python: false },
  chaos: { file: false, full: true, write: true },
  slurm: {
    config: false,
    beta: false,
    seed: false,
    set: false,
    dry_run: true,
    print: true,
    submit: true,
    partition: false,
    account: false,
    time: false,
    num_processes: false,
    nodes: false,
    scorer: false,
    array_beta: true,
  },
  report: { serve: true, port: false, weight_change: true },
  data: { train: false, eval: false, from: false, output: false, seed: false },
};

/**
 * Ends a start that npm took options from.
 * @param {string} root the checkout
 * @param {string} task
 * @param {string[]} args what npm left
 * @throws {Error} with the line to type instead
 */
export function refuseKeptOptions(root, task, args) {
  const { npm_lifecycle_event: script, npm_config_userconfig: userConfig } = process.env;
  if (script !== task) return;
  const flags = NPM_OPTIONS[task] ?? {};
  const ofFiles = [userConfig, join(root, ".npmrc")].map(readText).join("\n");
  const kept = [...new Set([...Object.keys(flags), ...settingsOf(root)])]
    .map((name) => ({ name, value: process.env[`npm_config_${name}`] }))
    .filter(({ name, value }) => value && !isSetIn(ofFiles, name));
  if (kept.length === 0) return;
  const typed = kept.map(({ name, value = "" }) => spelled(name, value, flags[name] === true));
  // npm 11 gives "--beta 0.5" as a bare --beta and leaves 0.5 as a word: whose it was is sure for one alone.
  const open = typed.filter((words) => words.endsWith(" VALUE")).length;
  const line = open === 1 && args.length === 1
    ? typed.map((words) => words.replace("VALUE", args[0])).join(" ")
    : [...(open === 0 ? args : []), ...typed].join(" ");
  const names = kept.map(({ name }) => `--${optionName(name)}`).join(", ");
  throw new Error(
    `npm kept ${names} for itself, and ${task} would have run without; put -- before the options:\n\n` +
      `  npm run ${task} -- ${line}\n`,
  );
}

/**
 * @param {string} name
 * @param {string} value what npm made of it
 * @param {boolean} isFlag
 */
function spelled(name, value, isFlag) {
  if (isFlag) return `--${optionName(name)}`;
  // npm joins the values of an option that was given several times.
  return value.split("\n\n").map((one) => `--${optionName(name)} ${one === "true" ? "VALUE" : one}`).join(
    " ",
  );
}

/** Options that have no underscores. */
const HYPHENATED = ["dry_run", "judge_model"];

/** @param {string} name as npm writes it into the environment */
function optionName(name) {
  return HYPHENATED.includes(name) ? name.replaceAll("_", "-") : name;
}

/**
 * Whether a file of npm's settings has the name: then it was not typed.
 * @param {string} text
 * @param {string} name
 */
function isSetIn(text, name) {
  return new RegExp(`^\\s*${name.replaceAll("_", "[-_]")}\\s*(=|$)`, "m").test(text);
}

/**
 * Names of the settings, which may be typed as options by mistake; none where the page that lists them is away.
 * @param {string} root
 */
function settingsOf(root) {
  return [...readText(join(root, "docs", "config.md")).matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
}

/** @param {string | undefined} path */
function readText(path) {
  try {
    return path ? readFileSync(path, "utf8") : "";
  } catch {
    return ""; // npm itself goes on without it
  }
}
