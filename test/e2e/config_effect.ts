/** A row of the table that says what every config key is seen to do, and how a row is shown. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import type { ConfigKey } from "../../src/config/schema.ts";
import { configValue, rowsOf, weightsOf } from "./config_read.ts";
import { freshFolder, type Ran, runCommand, type Settings, type Stage } from "./config_run.ts";

export interface Effect {
  key: ConfigKey;
  /** Or a function that makes it. */
  value: unknown;
  /** What is seen to change, as a claim. */
  seen: string;
  /** Settings of both runs, the one with the value and the one without it. */
  given?: Settings;
  command?: "train" | "eval";
  /** Sets up the scorers for both runs. */
  prepare?(stage: Stage): void;
  /** Whether a run with the settings of both has been in the folder before. */
  continues?: true;
  /** With it: called when that run has ended. */
  between?(): void;
  /** What the run with the value is refused with. */
  fails?: RegExp;
  /** The same, where the device decides whether it is. */
  mayFail?: RegExp;
  /** The same of the run without it. */
  failsWithout?: RegExp;
  check?(changed: Ran, without: Ran, stage: Stage): void;
}

const finished = new Map<string, Promise<Ran>>();

/** The run of settings, once for all rows that are held against it. */
function runOnce(stage: Stage, effect: Effect): Promise<Ran> {
  const { command = "train", given = {}, prepare, continues } = effect;
  if (prepare || continues) return runInTurn(stage, effect, given);
  const name = JSON.stringify([command, given]);
  const before = finished.get(name) ?? runCommand(stage, command, given);
  finished.set(name, before);
  return before;
}

async function runInTurn(
  stage: Stage,
  { command = "train", given, continues, between }: Effect,
  settings: Settings,
): Promise<Ran> {
  if (!continues) return runCommand(stage, command, settings);
  const output_dir = freshFolder();
  assertEnded(await runCommand(stage, command, { ...given, output_dir }));
  between?.();
  return runCommand(stage, command, { ...settings, output_dir });
}

function assertEnded({ code, error, output }: Ran, fails?: RegExp | null): void {
  if (fails) return assert.match(error?.message ?? `no error, exit code ${code}`, fails);
  if (error) throw error;
  assert.equal(code, 0, output);
}

/** Runs the command without and with the value, and looks at both. */
export async function showEffect(effect: Effect, stage: Stage): Promise<void> {
  const { key, command = "train", given = {}, mayFail, failsWithout } = effect;
  const value = typeof effect.value === "function" ? effect.value(stage) : effect.value;
  effect.prepare?.(stage);
  try {
    const without = await runOnce(stage, effect);
    assertEnded(without, failsWithout);
    const changed = await runInTurn(stage, effect, { ...given, [key]: value });
    const fails = effect.fails ?? (changed.error && mayFail);
    assertEnded(changed, fails);
    if (changed.error && mayFail) return;
    const isOneRun = !fails && command === "train" && !(key === "beta" && Array.isArray(value));
    if (isOneRun) assert.deepEqual(configValue(changed, key), value, `${key} in run_config.json`);
    effect.check?.(changed, without, stage);
  } finally {
    for (const scorer of [stage.scorer, stage.other]) {
      Object.assign(scorer, { delayMs: 0, refusal: null, costShift: 0, isVllm: false });
    }
  }
}

/** For keys that no code acts on: all that was trained and logged is the same. */
export function changesNothing(changed: Ran, without: Ran): void {
  assert.deepEqual(rowsOf(changed), rowsOf(without));
  assert.deepEqual(weightsOf(changed), weightsOf(without));
  assert.deepEqual(readdirSync(changed.dir), readdirSync(without.dir));
}

/** @param tolerance share of the expected number's size */
export function assertClose(
  actual: number | undefined,
  expected: number,
  tolerance: number,
  what = "",
): void {
  const size = Math.max(Math.abs(expected), 1e-6);
  assert.ok(
    Math.abs(actual! - expected) <= tolerance * size,
    `${what} expected ${expected} within ${tolerance} of it, got ${actual}`,
  );
}

/** With the numbers in the message: Node takes a minute to find the words of a plain assert.ok in compiled code. */
export function assertMore(more: number, less: number): void {
  assert.ok(more > less, `expected more than ${less}, got ${more}`);
}
