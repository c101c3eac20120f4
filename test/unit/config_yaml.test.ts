/** Files of settings as hostile or careless hands write them: every problem has a place, and no key is dropped unsaid. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { load, problemsOf } from "./loaded_config.ts";

const ALIAS = /stands for a value elsewhere, which is not read; write the value here$/;

describe("an alias", () => {
  it("is refused where it stands, whatever it stands for", () => {
    const places: [string, RegExp][] = [
      ["run_name: *best\nmax_steps: 1\n", /^run\.yaml:1:11: /],
      ["stop_strings: &a [*a]\n", /^run\.yaml:1:19: /],
      ["run_name: &k max_steps\n*k : 5\n", /^run\.yaml:2:1: /],
      ["seed: &s 1\nbeta: *s\n", /^run\.yaml:2:7: /],
      ["x: &x {seed: 1}\n<<: *x\n", /^run\.yaml:2:5: /],
    ];
    for (const [text, place] of places) {
      const problem = problemsOf(text).find((problem) =>
        ALIAS.test(problem) || /Unresolved alias/.test(problem)
      );
      assert.match(problem ?? "none", place, text);
    }
  });

  it("that doubles at every line is not written out", () => {
    const lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"];
    for (let i = 1; i < 12; i++) lines.push(`a${i}: &a${i} [${Array(10).fill(`*a${i - 1}`).join(",")}]`);
    const began = performance.now();
    assert.match(problemsOf(lines.join("\n"))[0], /^run\.yaml:2:10: "\*a0" stands for/);
    assert.ok(performance.now() - began < 2000);
  });

  it("of the command line is text", () => {
    assert.equal(load("seed: 1", { overrides: ["run_name=*best"] }).run_name, "*best");
    assert.match(
      problemsOf("seed: 1", { overrides: ["stop_strings=&a [*a]", "seed=*a"] })[0],
      /seed must be/,
    );
  });
});

describe("a key that is no word", () => {
  it("is refused by name and place", () => {
    assert.deepEqual(problemsOf("? [max_steps, beta]\n: 5\nseed: 1\n"), [
      'run.yaml:1:3: a key must be a word, got ["max_steps","beta"]; docs/config.md lists every key',
    ]);
    assert.match(problemsOf("7: 5\n")[0], /^run\.yaml:1:1: a key must be a word, got 7/);
    assert.match(problemsOf("seed: 1\n: 5\n")[0], /^run\.yaml:2:1: a key must be a word/);
    assert.match(problemsOf("__proto__: 5\n")[0], /^run\.yaml:1:1: unknown key "__proto__"/);
  });
});

it("lists within lists without end are an error, and no crash", () => {
  assert.match(problemsOf(`stop_strings: ${"[".repeat(20_000)}`)[0], /^run\.yaml:/);
});

it("a second document is an error with its place", () => {
  assert.match(problemsOf("seed: 1\n---\nseed: 2\n")[0], /^run\.yaml:2:1: this is not valid YAML: /);
});

describe("~ in front of a path", () => {
  const homeDir = "/h/ada";
  it("is the home folder, in the file and in --set, for every setting that is a path", () => {
    const config = load("model_name: ~/models/a\ntrain_jsonl: '~/t.jsonl'\nreward_model: ~/r\n", {
      homeDir,
      overrides: ["output_dir=~", "scorer_url=file:~/url", "eval_jsonl=~/e.jsonl", "cost_model=~/c"],
    });
    assert.deepEqual(
      [config.model_name, config.train_jsonl, config.reward_model, config.output_dir],
      ["/h/ada/models/a", "/h/ada/t.jsonl", "/h/ada/r", "/h/ada"],
    );
    assert.deepEqual(
      [config.scorer_url, config.eval_jsonl, config.cost_model],
      ["file:/h/ada/url", "/h/ada/e.jsonl", "/h/ada/c"],
    );
  });

  it("stays where it is part of a name, of another's home, or of no path", () => {
    const config = load("model_name: ~ada/m\noutput_dir: out~/x\n", { homeDir, overrides: ["run_name=~/x"] });
    assert.deepEqual([config.model_name, config.output_dir, config.run_name], ["~ada/m", "out~/x", "~/x"]);
  });
});

describe("a key that there is not", () => {
  const answer = (key: string) => problemsOf("seed: 1", { overrides: [`${key}=1`] })[0];
  it("and that is TRL's is answered with what to set instead, or why there is nothing to set", () => {
    assert.match(
      answer("logging_nan_inf_filter"),
      /unknown key "logging_nan_inf_filter", which is TRL's: every run writes metrics\.jsonl/,
    );
    assert.match(answer("vllm_mode"), /TRL's: completions are sampled in this process, without vLLM/);
    assert.match(answer("eval_strategy"), /set eval_every/);
    assert.match(answer("bf16"), /set dtype=bfloat16/);
  });

  it("and that other programs use names ours", () => {
    assert.match(answer("kl_coef"), /^command line, kl_coef=1: unknown key "kl_coef"; set beta$/);
    assert.match(answer("scorer_max_retries"), /set scorer_retry_max_s/);
    assert.match(answer("max_new_tokens"), /set max_completion_length/);
    assert.match(answer("per_device_batch"), /set per_device_train_batch_size/);
    assert.match(answer("lora-r"), /did you mean "lora_r"/);
  });

  it("is answered with the one that holds all its words, where none is near", () => {
    assert.match(answer("abs_score_max"), /did you mean "scorer_max_abs_score"/);
    assert.match(answer("constructor"), /docs\/config\.md lists every key/);
  });
});

describe("the value that holds when a wrong one is left out", () => {
  it("is the file's, and only without one the default", () => {
    const [problem] = problemsOf("seed: 1\nmax_steps: 90", { overrides: ["max_steps=-7"] });
    assert.match(problem, /got -7; remove it for 90 of run\.yaml:2:1$/);
    assert.match(problemsOf("seed: 1", { overrides: ["max_steps=-7"] })[0], /remove it for the default 500$/);
    assert.match(problemsOf("top_p: 3", { overrides: ["top_p=2"] })[0], /remove it for the default 1$/);
  });

  it("is named too where the value breaks a rule", () => {
    const [problem] = problemsOf("max_steps: 90", { overrides: ["max_steps=0"] });
    assert.match(problem, /got 0; set -1 or a number of steps, or leave it out for 90 of run\.yaml:1:1$/);
    assert.doesNotMatch(problemsOf("max_steps: 0")[0], /leave it out/);
  });
});
