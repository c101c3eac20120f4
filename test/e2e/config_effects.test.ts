/**
 * Every config key reaches what it is for. The table has a row for each key: a value, given on the command line, and
 * what is seen to change by it in files, in output or at the scorer.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { CONFIG_KEYS } from "../../src/config/schema.ts";
import { closeGpu } from "../../src/gpu/device.ts";
import { type Effect, showEffect } from "./config_effect.ts";
import { ADAPTER_EFFECTS } from "./config_effects_adapter.ts";
import { LAMBDA_EFFECTS } from "./config_effects_lambda.ts";
import { LOSS_EFFECTS } from "./config_effects_loss.ts";
import { NEWER_LOSS_EFFECTS } from "./config_effects_newer_losses.ts";
import { MODEL_EFFECTS } from "./config_effects_model.ts";
import { OPTIMIZER_EFFECTS } from "./config_effects_optimizer.ts";
import { OUTPUT_EFFECTS } from "./config_effects_output.ts";
import { RULE_EFFECTS } from "./config_effects_rules.ts";
import { SAMPLING_EFFECTS } from "./config_effects_sampling.ts";
import { SCORER_EFFECTS } from "./config_effects_scorer.ts";
import { closeStage, openStage, type Stage } from "./config_run.ts";

const EFFECTS: readonly Effect[] = [
  ...MODEL_EFFECTS,
  ...SCORER_EFFECTS,
  ...LAMBDA_EFFECTS,
  ...RULE_EFFECTS,
  ...SAMPLING_EFFECTS,
  ...LOSS_EFFECTS,
  ...NEWER_LOSS_EFFECTS,
  ...ADAPTER_EFFECTS,
  ...OPTIMIZER_EFFECTS,
  ...OUTPUT_EFFECTS,
];

/** As a user types it, without the folders. */
const shown = (value: unknown) =>
  typeof value === "function" ? "..." : JSON.stringify(value).replace(/"[^"]*\/([^"/]+)"/, '"$1"');

describe("config keys", () => {
  let stage: Stage;
  before(async () => void (stage = await openStage()));
  after(async () => {
    await closeStage(stage);
    await closeGpu();
  });

  it("each has a row, and every row is of a key that there is", () => {
    const inTable = new Set(EFFECTS.map(({ key }) => key));
    assert.deepEqual([...inTable].sort(), [...CONFIG_KEYS].sort());
  });

  for (const effect of EFFECTS) {
    it(`${effect.key}=${shown(effect.value)}: ${effect.seen}`, () => showEffect(effect, stage));
  }
});
