import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { formatConfig } from "../../src/config/describe.ts";
import { loadConfig } from "../../src/config/load.ts";
import { configNotices } from "../../src/config/rules.ts";
import { CONFIG_KEYS, defaultConfig, fieldMeta } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { load, problemsOf } from "./loaded_config.ts";

function shipped(name: string) {
  const url = new URL(`../../configs/${name}`, import.meta.url);
  return { text: readFileSync(url, "utf8"), fileName: name };
}

test("the file wins over the defaults and the last override wins over the file", () => {
  const config = load("seed: 7\nlearning_rate: 1e-3\n", { overrides: ["seed=8", "seed=9"] });
  assert.equal(config.seed, 9);
  assert.equal(config.learning_rate, 1e-3);
  assert.equal(config.temperature, 0.7);
});

test("a config is frozen all the way down", () => {
  const config = load("beta: [0.01, 0.05]");
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.beta) && Object.isFrozen(config.stop_strings));
});

test("an unknown key is an error with its place and the key that was meant", () => {
  assert.deepEqual(problemsOf("seed: 1\n  \nlamda_lr: 0.1\nzzz: 1\n"), [
    'run.yaml:3:1: unknown key "lamda_lr"; did you mean "lambda_lr"?',
    'run.yaml:4:1: unknown key "zzz"; docs/config.md lists every key; remove it',
  ]);
  assert.match(problemsOf("seed: 1", { overrides: ["sed=3"] })[0]!, /^command line, sed=3: .*"seed"\?$/);
});

test("every wrong type and range is reported at once, with requirement, actual value and remedy", () => {
  assert.deepEqual(
    problemsOf('learning_rate: "5e-6"\nlambda_adapt: on\ntop_p: 1.5\nnum_generations:\nloss_type: ppo'),
    [
      'run.yaml:1:1: learning_rate must be a number > 0, got the string "5e-6"; remove the quotes',
      'run.yaml:2:1: lambda_adapt must be true or false, got the string "on"; remove it for the default true',
      "run.yaml:3:1: top_p must be a number > 0 and <= 1, got 1.5; remove it for the default 1",
      "run.yaml:4:1: num_generations must be an integer >= 2, got nothing; remove it for the default 30",
      'run.yaml:5:1: loss_type must be one of "grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", ' +
      '"luspo", "vespo", got the string "ppo"; remove it for the default "grpo"',
    ],
  );
  assert.equal(problemsOf("temperature: .nan\nlambda_max: .inf\nseed: -1\nseed2: 1").length, 4);
});

test("broken YAML, a repeated key and a file without keys are errors with a place", () => {
  assert.match(problemsOf("seed: [1\nbeta: 0")[0]!, /^run\.yaml:\d+:\d+: this is not valid YAML: /);
  assert.match(problemsOf("seed: 1\nseed: 2")[0]!, /^run\.yaml:2:1: .*unique/);
  assert.match(problemsOf("# nothing\n")[0]!, /^run\.yaml:1:1: need lines of "key: value", got nothing/);
  assert.match(problemsOf("- seed")[0]!, /got a list or a single value/);
});

test("keys that contradict each other are named with both values", () => {
  assert.match(
    problemsOf("lambda_min: 6")[0]!,
    /^run\.yaml:1:1: lambda_min must not exceed lambda_max, got 6 > 5/,
  );
  assert.match(
    problemsOf("lambda_cost: 9")[0]!,
    /lambda_cost must lie between lambda_min = 0.0001 and lambda_max = 5/,
  );
  assert.equal(load("lambda_cost: 9\nlambda_adapt: false").lambda_cost, 9);
  assert.match(problemsOf("max_steps: 0")[0]!, /max_steps must be >= 1, or -1/);
  assert.match(problemsOf("warmup_steps: 501")[0]!, /warmup_steps must be <= max_steps = 500/);
});

test("a batch that is no whole groups names the values that fit, for the devices at hand", () => {
  const problem = "run.yaml:1:1: Cannot group 45 completions (per_device_train_batch_size 1 * 1 device * " +
    "gradient_accumulation_steps 45): need a multiple of num_generations = 30; " +
    "set gradient_accumulation_steps to 30 or 60 or num_generations to 15 or 45";
  assert.deepEqual(problemsOf("gradient_accumulation_steps: 45"), [problem]);
  assert.equal(load("gradient_accumulation_steps: 15", { worldSize: 4 }).gradient_accumulation_steps, 15);
});

test("adapters take modules by name or all of them, and refuse dropout with the reason", () => {
  const modules = (typed: string) =>
    load("use_peft: true", { overrides: [`lora_target_modules=${typed}`] }).lora_target_modules;
  assert.deepEqual(modules("q_proj"), ["q_proj"]);
  assert.deepEqual(modules("q_proj,down_proj"), ["q_proj", "down_proj"]);
  assert.equal(modules("all-linear"), "all-linear");
  assert.match(
    problemsOf("lora_target_modules: [lm_head]")[0]!,
    /lora_target_modules must be a non-empty list/,
  );
  assert.match(problemsOf("lora_target_modules: [q_proj, q_proj]")[0]!, /lora_target_modules must be/);
  assert.match(problemsOf("lora_dropout: 0.05")[0]!, /lora_dropout must be 0, got 0.05: .*ratios of GRPO/);
  assert.match(problemsOf("lora_merge: true")[0]!, /lora_merge needs use_peft/);
});

test("a rule between keys is skipped while one of them is invalid by itself", () => {
  assert.equal(problemsOf("num_generations: 1\ngradient_accumulation_steps: 45").length, 1);
});

test("sweepRuns() gives one run per beta, each with a single one", () => {
  assert.deepEqual(sweepRuns(load("beta: [0.01, 0.05]")).map((run) => run.beta), [0.01, 0.05]);
  assert.deepEqual(sweepRuns(load("beta: 0")).map((run) => run.beta), [0]);
});

test("the printed configuration loads back to an equal one", () => {
  const positive = fc.double({ min: 1e-300, max: 1e300, noNaN: true });
  const words = fc.string({ minLength: 1, unit: "grapheme" });
  const betas = fc.uniqueArray(positive, { minLength: 1, comparator: "SameValue" });
  fc.assert(fc.property(positive, words, fc.array(words), betas, (rate, name, stopStrings, beta) => {
    const text = JSON.stringify({ learning_rate: rate, run_name: name, stop_strings: stopStrings, beta });
    const config = load(text);
    assert.deepEqual(load(formatConfig(config)), config);
  }));
  assert.deepEqual(load(formatConfig(defaultConfig())), defaultConfig());
});

test("configs/grpo_alignment.yaml carries the defaults, but for its paths, scorer, plain KL term, layout and trackers", () => {
  const { text, fileName } = shipped("grpo_alignment.yaml");
  const config = loadConfig({ text, fileName });
  const own = [
    "model_name",
    "train_jsonl",
    "eval_jsonl",
    "scorer_url",
    "output_dir",
    "use_bias_correction_kl",
    "chat_template",
    "stop_strings",
    "report_to",
  ];
  const differing = CONFIG_KEYS.filter((key) =>
    JSON.stringify(config[key]) !== JSON.stringify(defaultConfig()[key])
  );
  assert.deepEqual(differing.sort(), own.sort());
  // The published run, pinned: what the defaults are must not drift unseen.
  assert.deepEqual(
    [config.lambda_lr, config.jc_ema_beta, config.num_generations, config.temperature, config.learning_rate],
    [0.005, 0.9, 30, 0.7, 5e-6],
  );
});

test("configs/quickstart.yaml loads and needs no scorer", () => {
  assert.equal(loadConfig(shipped("quickstart.yaml")).scorer_url, null);
});

test("configs/quickstart_lora.yaml is quickstart.yaml with adapters, a rate and length of their own and its own folder", () => {
  const [full, lora] = ["quickstart.yaml", "quickstart_lora.yaml"].map((name) => loadConfig(shipped(name)));
  const differing = CONFIG_KEYS.filter((key) => JSON.stringify(full![key]) !== JSON.stringify(lora![key]));
  const others = differing.filter((key) => fieldMeta(key).group !== "Adapter");
  assert.deepEqual(others, ["learning_rate", "max_steps", "eval_every", "output_dir", "save_steps"]);
  assert.ok(lora!.use_peft);
});

test("configs/quickstart_two_costs.yaml is quickstart.yaml with two costs and its own folder", () => {
  const [one, two] = ["quickstart.yaml", "quickstart_two_costs.yaml"].map((name) =>
    loadConfig(shipped(name))
  );
  const differing = CONFIG_KEYS.filter((key) => JSON.stringify(one![key]) !== JSON.stringify(two![key]));
  assert.deepEqual(differing, ["output_dir", "costs"]);
  assert.deepEqual(two!.costs!.map(({ name }) => name), ["harm", "tone"]);
});

test("configNotices() explains keys that do nothing", () => {
  assert.deepEqual(configNotices(defaultConfig()), []);
  const notices = configNotices(load("eval_jsonl: null\nwarmup_steps: 5"));
  assert.equal(notices.length, 2);
  assert.match(notices[1]!, /warmup_steps = 5 does nothing/);
});

test("a key that is no word is an error, not skipped", () => {
  assert.deepEqual(problemsOf("seed: 1\n? [a, b]\n: 2\n"), [
    'run.yaml:2:3: a key must be a word, got ["a","b"]; docs/config.md lists every key',
  ]);
});

test("broken YAML is one line per fault, and nothing is said of what could not be read", () => {
  for (const text of ["seed: 'open", "seed: [1\nbeta: 0", "a: b: c"]) {
    const problems = problemsOf(text);
    assert.ok(
      problems.every((problem) => problem.includes("not valid YAML") && !problem.includes("\n")),
      text,
    );
  }
});

test("a key is guessed within two letters, or a third of its own where it is long, and not beyond", () => {
  const hintOf = (key: string) => /did you mean "(\w+)"/.exec(problemsOf(`${key}: 1`)[0]!)?.[1];
  assert.equal(hintOf("sxyd"), "seed"); // two of four
  assert.equal(hintOf("sxyz"), undefined); // three of four
  assert.equal(hintOf("max_prompt_lxxxxx"), "max_prompt_length"); // five of 17
  assert.equal(hintOf("max_prompt_xxxxxx"), undefined); // six of 17
  assert.equal(hintOf("quite_something_else"), undefined);
});

test("a wrong value is shown as what it is: a list, a mapping, blank text, a numeral in quotes", () => {
  const shown = (text: string) => problemsOf(text)[0]!.split(", got ")[1];
  assert.equal(shown("seed: [1]"), "the list [1]; remove it for the default 42");
  assert.equal(shown("seed: {a: 1}"), 'the mapping {"a":1}; remove it for the default 42');
  assert.equal(shown('seed: "  "'), 'the string "  "; remove it for the default 42');
  assert.equal(shown('seed: " 7 "'), 'the string " 7 "; remove the quotes');
  assert.equal(shown("seed: true"), "true; remove it for the default 42");
});

test("the printed configuration keeps each list on the line of its key", () => {
  assert.match(formatConfig(load("beta: [0.1, 0.2]")), /^beta:\n {2}- 0\.1\n {2}- 0\.2$/m);
});
