/** Settings of the command line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { load, problemsOf } from "./loaded_config.ts";

test("overrides are read as YAML, as a list, or as typed, whichever the key takes", () => {
  const config = load("seed: 1", {
    overrides: [
      "beta=0.01,0.05",
      "run_name=7",
      "stop_strings=USER:,Human:",
      "scorer_url=http://localhost:8000",
      "learning_rate=5e-6",
      "resume=false",
      "eval_jsonl=",
    ],
  });
  assert.deepEqual(config.beta, [0.01, 0.05]);
  assert.deepEqual([config.run_name, config.scorer_url], ["7", "http://localhost:8000"]);
  assert.deepEqual(config.stop_strings, ["USER:", "Human:"]);
  assert.deepEqual([config.learning_rate, config.resume, config.eval_jsonl], [5e-6, false, null]);
  assert.deepEqual(load("seed: 1", { overrides: ["stop_strings=[]"] }).stop_strings, []);
});

test("an override that is none says what one looks like, and a bad value is an error", () => {
  assert.match(problemsOf("seed: 1", { overrides: ["seed"] })[0]!, /"seed" is no override: need key=value/);
  assert.match(problemsOf("seed: 1", { overrides: ["beta=0.01,oops"] })[0]!, /beta must be a number >= 0/);
  assert.match(problemsOf("seed: 1", { overrides: ["beta=0.1,0.1"] })[0]!, /list of different ones/);
});

test("an override repairs a bad value of the file", () => {
  assert.equal(load("temperature: hot", { overrides: ["temperature=1"] }).temperature, 1);
});

test("an override may have spaces about its key and its values, and an open quote is text", () => {
  const config = load("seed: 1", {
    overrides: [" seed = 8", "stop_strings=USER:, Human: ", 'run_name="a', "beta= 0.1 , 0.2"],
  });
  assert.deepEqual([config.seed, config.stop_strings, config.run_name], [8, ["USER:", "Human:"], '"a']);
  assert.deepEqual(config.beta, [0.1, 0.2]);
});

test("a key of one letter is an unknown key; none at all is no override", () => {
  assert.match(problemsOf("seed: 1", { overrides: ["a=1"] })[0]!, /^command line, a=1: unknown key "a"/);
  assert.match(problemsOf("seed: 1", { overrides: ["=1"] })[0]!, /"=1" is no override/);
});
