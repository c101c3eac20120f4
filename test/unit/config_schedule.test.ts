import assert from "node:assert/strict";
import { test } from "node:test";
import { formatConfig } from "../../src/config/describe.ts";
import { ConfigError, loadConfig } from "../../src/config/load.ts";
import { movesSchedule } from "../../src/config/resume.ts";

function load(text: string, ...overrides: string[]) {
  return loadConfig({ text, fileName: "run.yaml" }, { overrides });
}

/** The one problem of a configuration that must not load. */
function problemOf(text: string): string {
  try {
    load(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.problems.length, 1, error.message);
    return error.problems[0]!;
  }
  return assert.fail("the configuration was accepted");
}

const kwargs = (type: string, given: string) =>
  problemOf(`lr_scheduler_type: ${type}\nlr_scheduler_kwargs: ${given}`);

test("lr_scheduler_kwargs is read from the file, the command line and a printed configuration alike", () => {
  const config = load("lr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: 2}");
  assert.deepEqual(config.lr_scheduler_kwargs, { num_cycles: 2 });
  const typed = load("lr_scheduler_type: cosine_with_restarts", "lr_scheduler_kwargs={num_cycles: 2}");
  assert.deepEqual(typed, config);
  assert.deepEqual(load(formatConfig(config)), config);
  const words = "lr_scheduler_kwargs: {num_decay_steps: 50, decay_type: linear}";
  assert.equal(
    load(`lr_scheduler_type: warmup_stable_decay\n${words}`).lr_scheduler_kwargs?.decay_type,
    "linear",
  );
});

test("an argument that the schedule does not take is refused with those it takes", () => {
  assert.match(
    kwargs("cosine_with_min_lr", "{min_lr: 0, power: 2}"),
    /^run\.yaml:2:1: .*"cosine_with_min_lr" takes num_cycles, min_lr, min_lr_rate, got "power"; remove it/,
  );
  assert.match(kwargs("linear", "{num_cycles: 2}"), /"linear" takes no arguments, got "num_cycles"/);
  assert.match(kwargs("cosine", "{toString: 2}"), /takes num_cycles, got "toString"/);
});

test("an argument of the wrong kind is refused with what it must be", () => {
  assert.match(
    kwargs("cosine", "{num_cycles: two}"),
    /num_cycles must be a number > 0, got "two"; change it/,
  );
  assert.match(
    kwargs("warmup_stable_decay", "{num_decay_steps: 5, warmup_type: sine}"),
    /warmup_type must be one of "linear", "cosine", "1-sqrt", got "sine"/,
  );
  assert.match(kwargs("cosine", "[2]"), /lr_scheduler_kwargs must be a mapping of names to numbers or words/);
});

test("an argument that transformers asks for is asked for here", () => {
  assert.match(problemOf("lr_scheduler_type: warmup_stable_decay"), /needs num_decay_steps, got none/);
  assert.match(problemOf("lr_scheduler_type: cosine_with_min_lr"), /min_lr or min_lr_rate, got neither/);
  assert.match(kwargs("cosine_warmup_with_min_lr", "{min_lr: 0, min_lr_rate: 0}"), /got both; remove one/);
});

test("polynomial must start above where it ends", () => {
  assert.match(
    problemOf("learning_rate: 1e-8\nlr_scheduler_type: polynomial"),
    /learning_rate must be > 1e-7, where "polynomial" ends, got 1e-8/,
  );
  const lower = "learning_rate: 1e-8\nlr_scheduler_type: polynomial\nlr_scheduler_kwargs: {lr_end: 0}";
  assert.equal(load(lower).learning_rate, 1e-8);
});

test("a schedule that follows a metric is refused with the reason", () => {
  for (const type of ["reduce_lr_on_plateau", "greedy"]) {
    assert.match(
      problemOf(`lr_scheduler_type: ${type}`),
      /is refused: it moves the learning rate by a metric/,
    );
  }
  assert.match(problemOf("lr_scheduler_type: constructor"), /must be one of "constant", /);
});

test("warmup_steps is a count of steps, or below 1 a share of them", () => {
  assert.equal(load("warmup_steps: 0.1").warmup_steps, 0.1);
  assert.equal(load("warmup_steps: 10").warmup_steps, 10);
  assert.match(problemOf("warmup_steps: 1.5"), /must be an integer >= 0, or a share of all < 1, got 1\.5/);
  assert.match(problemOf("warmup_steps: -0.5"), /got -0\.5/);
});

test("with a share as warm-up, another length of the run moves the schedule on resume", () => {
  const moves = (warmup: string) =>
    movesSchedule(
      { key: "max_steps", before: 500, now: 900 },
      load("lr_scheduler_type: constant_with_warmup", warmup),
    );
  assert.deepEqual([moves("warmup_steps=5"), moves("warmup_steps=0.1")], [false, true]);
});
