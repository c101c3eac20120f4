/** What contradicts itself is said with its place in the file. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatConfig } from "../../src/config/describe.ts";
import { ConfigError, loadConfig } from "../../src/config/load.ts";
import { defaultConfig } from "../../src/config/schema.ts";

const loaded = (text: string) => loadConfig({ text, fileName: "run.yaml" });

for (
  const [line, problem] of [
    ["lambda_cost: 9", "lambda_cost must lie between"],
    ["lambda_adapt: false\nlambda_rule: pid", 'lambda_adapt: false must stand with lambda_rule "log_ema"'],
    [
      "lambda_pos_cost_only: false\nlambda_rule: per_prompt",
      'lambda_pos_cost_only: false must stand with lambda_rule "log_ema"',
    ],
    ["lambda_rule: signed\nlambda_cost: 0", "lambda_cost must lie between lambda_min = 0.0001"],
    ["lambda_rule: pid\nlambda_cost: 6", "lambda_cost must lie between 0 and lambda_max = 5"],
    ["lambda_rule: pid\nlambda_ki: 0\nlambda_kp: 0", "lambda_kp or lambda_ki must be > 0"],
    [
      "lambda_rule: one_shot\nlambda_scope: rank",
      'lambda_scope must be "global" with lambda_rule "one_shot"',
    ],
    ["max_steps: 0", "max_steps must be >= 1"],
    ["delta: 1.1", "delta must be >= 1 \\+ epsilon_high"],
    ["loss_type: cispo", "epsilon_high must be >= 1"],
    ["loss_type: luspo", 'importance_sampling_level must be "sequence" with loss_type "luspo", got "token"'],
    ["loss_type: vespo", "importance_sampling_mode must be of tokens with loss_type"],
    [
      "importance_sampling_level: sequence\nimportance_sampling_correction: false\nloss_type: vespo",
      'importance_sampling_level must be "token"',
    ],
    ["use_adaptive_entropy: true\nentropy_coef: 2", "entropy_coef must lie between entropy_coef_min = 0"],
    ["beta: 0\nsync_ref_model: true", "sync_ref_model needs beta > 0"],
    ["use_peft: true\nsync_ref_model: true", "sync_ref_model needs all weights to be trained"],
    ["lora_dropout: 0.1", "lora_dropout must be 0"],
    ["lora_merge: true", "lora_merge needs use_peft"],
    ["cost_scorer_url: http://a:1", "cost_scorer_url needs scorer_url"],
    ["scorer_api: openrlhf", 'scorer_api "openrlhf" needs scorer_url, got null'],
    ["scorer_url: http://a:1\nscorer_input: pair", 'scorer_input must be "query" with scorer_api "beaver"'],
    ["scorer_url: http://a:1\nscorer_label_key: x", 'scorer_label_key needs scorer_api "openrlhf"'],
    ["scorer_url: http://a:1\nreward_label: 0", 'reward_label needs a classifier, got scorer_api "beaver"'],
    ["scorer_url: http://a:1\nscorer_api: tei_predict", "cost_label must be a label with scorer_api"],
    ["warmup_steps: 501", "warmup_steps must be <= max_steps"],
  ]
) {
  test(`"${line}" is refused with the line that it stands in`, () => {
    assert.throws(() => loaded(`# settings\nseed: 1\n${line}\n`), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        new RegExp(`run\\.yaml:${2 + line.split("\n").length}(:\\d+)?: ${problem}`),
      );
      return true;
    });
  });
}

test("a rule that keeps lambda takes any lambda_cost, and pid begins at 0", () => {
  assert.equal(loaded("lambda_rule: fixed\nlambda_cost: 9").lambda_cost, 9);
  assert.equal(loaded("lambda_rule: pid\nlambda_cost: 0").lambda_cost, 0);
});

test("an address is http, https or file: from its beginning on", () => {
  assert.equal(loaded("scorer_url: file:outputs/url").scorer_url, "file:outputs/url");
  for (const url of ["profile:/shared/url", "ftp://host", "file:"]) {
    assert.throws(() => loaded(`scorer_url: "${url}"`), /scorer_url must be an http/, url);
  }
});

test("a number without bounds is asked for as a number", () => {
  assert.throws(() => loaded("cost_threshold_d: x"), /cost_threshold_d must be a number, got the string "x"/);
});

test("formatConfig() breaks no long value over lines", () => {
  const long = "a folder with blanks in its name ".repeat(10).trim();
  const lines = formatConfig({ ...defaultConfig(), output_dir: long }).split("\n");
  assert.ok(lines.includes(`output_dir: ${long}`), lines.find((line) => line.startsWith("output_dir")));
});
