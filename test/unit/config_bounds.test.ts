/** The values that keys and rules accept, at their very bounds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, loadConfig } from "../../src/config/load.ts";
import { configNotices } from "../../src/config/rules.ts";
import {
  CONFIG_KEYS,
  type ConfigKey,
  ConfigSchema,
  defaultConfig,
  fieldMeta,
} from "../../src/config/schema.ts";

const accepts = (key: ConfigKey, value: unknown) => ConfigSchema.shape[key].safeParse(value).success;

/** The problems of a configuration, [] when it loads. */
function problemsOf(...lines: string[]): readonly string[] {
  try {
    loadConfig({ text: ["seed: 42", ...lines].join("\n"), fileName: "run.yaml" });
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
}

function assertRefused(lines: string[], message: RegExp): void {
  const problems = problemsOf(...lines);
  assert.equal(problems.length, 1, lines.join(", "));
  assert.match(problems[0]!, message);
}

// warmup_steps is of two kinds, and has a test of its own.
const NUMERIC = CONFIG_KEYS.filter((key) =>
  key !== "warmup_steps" && /^an? (number|integer)/.test(fieldMeta(key).requirement)
);

/** The bounds in a requirement's words, each with the nearest value inside it and outside it. */
function edges(words: string): { inside: number; outside: number }[] {
  return [...words.matchAll(/([<>]=?) (\S+?)(?=,| |$)/g)].map(([, sign, written]) => {
    const bound = Number(written);
    const step = words.startsWith("an integer") ? 1 : 1e-12 * Math.max(1, Math.abs(bound));
    const inward = sign!.startsWith(">") ? step : -step;
    return sign!.endsWith("=")
      ? { inside: bound, outside: bound - inward }
      : { inside: bound + inward, outside: bound };
  });
}

test("every numeric key takes exactly the range that its words name, bounds included where they say so", () => {
  let bounds = 0;
  for (const key of NUMERIC) {
    for (const { inside, outside } of edges(fieldMeta(key).requirement)) {
      assert.ok(accepts(key, inside), `${key} = ${inside}`);
      assert.ok(!accepts(key, outside), `${key} = ${outside}`);
      bounds++;
    }
  }
  assert.ok(bounds > NUMERIC.length, "the words name the bounds");
});

test("no numeric key takes a fraction for an integer, an infinity, NaN, a numeral or true", () => {
  for (const key of NUMERIC) {
    const whole = fieldMeta(key).requirement.startsWith("an integer");
    assert.equal(
      accepts(key, 2.5),
      !whole && edges(fieldMeta(key).requirement).every(({ outside }) => outside > 2.5 || outside <= 0),
      key,
    );
    for (const value of [Infinity, -Infinity, NaN, "2", true]) {
      assert.ok(!accepts(key, value), `${key} = ${value}`);
    }
  }
});

test("a key takes null, an empty text or an empty list exactly where its words say so", () => {
  for (const key of CONFIG_KEYS) {
    const { requirement } = fieldMeta(key);
    assert.equal(accepts(key, null), requirement.endsWith("or null"), key);
    assert.ok(!accepts(key, ""), key);
    assert.equal(accepts(key, []), requirement.includes("[] for none"), key);
  }
});

test("every key takes its default, and a list only where its words say so", () => {
  const config = defaultConfig();
  for (const key of CONFIG_KEYS) {
    assert.ok(accepts(key, config[key]), key);
    assert.equal(
      [["q_proj"], ["wandb"], ["http://a"], [0.5], [7], [{ name: "a" }]].some((list) => accepts(key, list)),
      fieldMeta(key).requirement.includes("list"),
      key,
    );
  }
});

test("a sweep and a list of modules name each value once", () => {
  assert.ok(accepts("beta", [0, 0.5]) && !accepts("beta", [0.5, 0.5]) && !accepts("beta", [0.5, -1]));
  assert.ok(accepts("lora_target_modules", ["q_proj", "k_proj"]));
  assert.ok(
    !accepts("lora_target_modules", ["q_proj", "q_proj"]) && !accepts("lora_target_modules", "q_proj"),
  );
});

test("a scorer's address is http or https, and nothing else", () => {
  for (const url of ["http://localhost:1", "https://a.b/c"]) assert.ok(accepts("scorer_url", url), url);
  for (const url of ["ftp://a", "xhttp://a", "httpss://a", "localhost:8000"]) {
    assert.ok(!accepts("scorer_url", url), url);
  }
});

test("warmup_steps is a share below 1, and from 1 on a whole number", () => {
  for (const count of [0, 0.5, 1 - 1e-12, 1, 2]) assert.ok(accepts("warmup_steps", count), `${count}`);
  for (const count of [-1e-12, 1 + 1e-12, 2.5]) assert.ok(!accepts("warmup_steps", count), `${count}`);
});

test("lambda's bounds may meet, and lambda may start at either of them", () => {
  assert.deepEqual(problemsOf("lambda_min: 5", "lambda_cost: 5"), []);
  assert.deepEqual(problemsOf("lambda_min: 0.5", "lambda_cost: 0.5"), []);
  assert.deepEqual(problemsOf("lambda_max: 2", "lambda_cost: 2"), []);
  assertRefused(["lambda_min: 0.5", "lambda_cost: 0.4"], /lambda_cost must lie between lambda_min = 0.5 and/);
  assertRefused(["lambda_max: 2", "lambda_cost: 2.1"], /and lambda_max = 2 while lambda adapts, got 2.1/);
  assert.deepEqual(problemsOf("lambda_min: 0.5", "lambda_cost: 0.4", "lambda_adapt: false"), []);
});

test("delta begins where clipping ends, which epsilon_high moves", () => {
  assert.deepEqual(problemsOf("delta: 1.2"), []);
  assertRefused(["delta: 1.1"], /delta must be >= 1 \+ epsilon_high = 1.2, where clipping begins, got 1.1/);
  assert.deepEqual(problemsOf("delta: 1.5", "epsilon_high: 0.5"), []);
  assertRefused(["delta: 1.4", "epsilon_high: 0.5"], /epsilon_high = 1.5.*got 1.4/);
  assert.deepEqual(problemsOf("delta: 2.2"), []);
});

test("cispo asks for an epsilon_high of at least 1, the others do not", () => {
  assertRefused(["loss_type: cispo"], /epsilon_high must be >= 1 with loss_type "cispo".*got null; set 5/);
  assertRefused(["loss_type: cispo", "epsilon_high: 0.9"], /got 0.9; set 5/);
  assert.deepEqual(problemsOf("loss_type: cispo", "epsilon_high: 1"), []);
  assert.deepEqual(problemsOf("loss_type: dapo", "epsilon_high: 0.3"), []);
});

test("adapters: merging needs them, and any dropout is refused", () => {
  assert.deepEqual(problemsOf("use_peft: true", "lora_merge: true"), []);
  assertRefused(["lora_merge: true"], /lora_merge needs use_peft/);
  assertRefused(["use_peft: true", "lora_merge_bin: true"], /lora_merge_bin needs lora_merge/);
  assertRefused(["lora_dropout: 1.0e-6"], /lora_dropout must be 0, got 0.000001/);
});

test("a warm-up may take the whole run and no longer; of epochs nothing is known yet", () => {
  assert.deepEqual(problemsOf("max_steps: 1", "warmup_steps: 1"), []);
  assertRefused(
    ["max_steps: 1", "warmup_steps: 2"],
    /warmup_steps must be <= max_steps = 1, got 2; lower it/,
  );
  assert.deepEqual(problemsOf("max_steps: -1", "warmup_steps: 501"), []);
});

test("a warm-up is called idle with the constant schedule alone", () => {
  const noticesOf = (...lines: string[]) =>
    configNotices(loadConfig({ text: lines.join("\n"), fileName: "run.yaml" }));
  assert.match(noticesOf("warmup_steps: 1")[0]!, /warmup_steps = 1 does nothing .*"constant_with_warmup"/);
  assert.match(noticesOf("warmup_steps: 0.5")[0]!, /warmup_steps = 0.5 does nothing/);
  assert.deepEqual(noticesOf("warmup_steps: 1", "lr_scheduler_type: linear"), []);
  assert.deepEqual(noticesOf("eval_jsonl: null"), ["eval_jsonl is null: no evaluation will run"]);
});

/** Whether a schedule takes an argument's value. */
function takes(type: string, name: string, value: unknown, others: Record<string, unknown> = {}): boolean {
  const kwargs = JSON.stringify({ ...others, [name]: value });
  const problems = problemsOf(`lr_scheduler_type: ${type}`, `lr_scheduler_kwargs: ${kwargs}`);
  if (problems.length > 0) assert.match(problems[0]!, new RegExp(`${name} must be (an? |one of)`));
  return problems.length === 0;
}

test("an argument of a schedule takes exactly the values that its words name", () => {
  const decay = { num_decay_steps: 4 };
  const table: [string, string, unknown[], unknown[], Record<string, unknown>?][] = [
    ["cosine", "num_cycles", [1e-12, 0.5, 3], [0, -1, "2", "x"]],
    ["polynomial", "lr_end", [0, 1e-7], [-1e-12, "0"]],
    ["polynomial", "power", [1e-12, 2], [0, -1, "1"]],
    ["inverse_sqrt", "timescale", [1], [0, "1"]],
    ["cosine_with_min_lr", "min_lr", [0, 1e-7], [-1e-12, "0"]],
    ["cosine_with_min_lr", "min_lr_rate", [0, 0.5, 1], [-1e-12, 1 + 1e-12, "0.5"]],
    ["cosine_warmup_with_min_lr", "warmup_lr_rate", [0, 1], [-0.1, 1.1], { min_lr: 0 }],
    ["warmup_stable_decay", "num_decay_steps", [0, 1, 7], [-1, 1.5, "4"]],
    ["warmup_stable_decay", "num_stable_steps", [0, 3], [-1, 0.5], decay],
    ["warmup_stable_decay", "min_lr_ratio", [0, 1], [-0.1, 1.1], decay],
    ["warmup_stable_decay", "warmup_type", ["linear", "cosine", "1-sqrt"], ["sqrt", 1], decay],
    ["warmup_stable_decay", "decay_type", ["linear", "cosine", "1-sqrt"], ["", 1], decay],
  ];
  for (const [type, name, good, bad, others] of table) {
    for (const value of good) assert.ok(takes(type, name, value, others), `${type}: ${name} = ${value}`);
    for (const value of bad) assert.ok(!takes(type, name, value, others), `${type}: ${name} = ${value}`);
  }
  const infinite = "lr_scheduler_kwargs: {num_cycles: .inf}";
  assert.equal(problemsOf("lr_scheduler_type: cosine", infinite).length, 1);
});

test("polynomial must start above lr_end, and not at it", () => {
  const at = (rate: string) => problemsOf(`learning_rate: ${rate}`, "lr_scheduler_type: polynomial");
  assert.equal(at("1.0e-7").length, 1);
  assert.deepEqual(at("1.1e-7"), []);
});
