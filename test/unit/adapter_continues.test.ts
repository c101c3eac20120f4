/** Which adapter may be trained on under which settings. */
import assert from "node:assert/strict";
import { it } from "node:test";
import type { AdapterConfig } from "../../src/policy/adapter_config.ts";
import { assertContinues } from "../../src/policy/adapters.ts";
import type { AdapterSet } from "../../src/policy/trunk.ts";

const CONFIG: AdapterConfig = { rank: 8, alpha: 16, useRslora: false };
const MODULES = ["q_proj", "v_proj"];
const LAYERS = 4;

const adapter = (config = CONFIG, modules = MODULES, layers = LAYERS) =>
  ({ config, modules, isFresh: false, byWeight: { size: modules.length * layers } }) as unknown as AdapterSet;
const goOn = (set: AdapterSet) =>
  assertContinues(set, { ...CONFIG, modules: MODULES }, { layers: LAYERS, path: "run" });

it("an adapter goes on under the settings that it was made with, in whatever order they name its modules", () => {
  goOn(adapter());
  goOn(adapter(CONFIG, ["v_proj", "q_proj"]));
});

it("each setting that changes what an adapter computes is named alone where it differs", () => {
  const differing: [found: AdapterSet, message: RegExp][] = [
    [adapter({ ...CONFIG, rank: 4 }), /\(lora_r: adapter 4, settings 8\)/],
    [adapter({ ...CONFIG, alpha: 8 }), /\(lora_alpha: adapter 8, settings 16\)/],
    [adapter({ ...CONFIG, useRslora: true }), /\(use_rslora: adapter true, settings false\)/],
    [adapter(CONFIG, ["q_proj"]), /\(lora_target_modules: adapter q_proj, settings q_proj,v_proj\)/],
    [adapter(CONFIG, MODULES, 3), /\(adapted layers: adapter 3, settings 4\)/],
  ];
  for (const [found, message] of differing) assert.throws(() => goOn(found), message);
});
