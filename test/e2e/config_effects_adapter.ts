/** Effects of the group "Adapter". */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assertClose, assertMore, type Effect } from "./config_effect.ts";
import { rowsOf, runFolderOf, type StoredTensor, tensorsIn } from "./config_read.ts";
import { type Ran, scratch, type Settings } from "./config_run.ts";

const ADAPTERS: Settings = { use_peft: true };

const adapterOf = (ran: Ran) => tensorsIn(join(runFolderOf(ran), "adapter_model.safetensors"));

const adaptedModules = (ran: Ran) =>
  [...new Set([...adapterOf(ran).keys()].map((name) => name.match(/(\w+)\.lora_[AB]/)![1]))].sort();

const adapterConfig = (ran: Ran) =>
  JSON.parse(readFileSync(join(runFolderOf(ran), "adapter_config.json"), "utf8"));

/** The first gradient of B is the scale of the adapters times something that no adapter has touched; that of A is 0. */
const gradientRatio = (changed: Ran, without: Ran) => {
  const [scaled, plain] = [changed, without].map((ran) => rowsOf(ran)[0].grad_norm!);
  return scaled / plain;
};

const mergedOf = (ran: Ran) => tensorsIn(join(runFolderOf(ran), "merged", "model.safetensors"));

const isWritten = (ran: Ran, name: string) => existsSync(join(runFolderOf(ran), name));

/** values + scale * B A */
function merged({ values, shape }: StoredTensor, a: StoredTensor, b: StoredTensor, scale: number): number[] {
  const [rank, columns] = a.shape;
  assert.deepEqual(b.shape, [shape[0], rank]);
  return Array.from(values, (value, i) => {
    const row = Math.floor(i / columns), column = i % columns;
    let product = 0;
    for (let r = 0; r < rank; r++) product += b.values[row * rank + r] * a.values[r * columns + column];
    return value + scale * product;
  });
}

export const ADAPTER_EFFECTS: readonly Effect[] = [
  {
    key: "use_peft",
    value: true,
    seen: "adapters of q_proj and v_proj are trained and saved, and no whole model",
    check(changed, without) {
      assert.deepEqual(adaptedModules(changed), ["q_proj", "v_proj"]);
      const files = ["adapter_model.safetensors", "model.safetensors"];
      const written = (ran: Ran) => files.filter((name) => isWritten(ran, name));
      assert.deepEqual([written(changed), written(without)], [[files[0]], [files[1]]]);
      assert.match(changed.output, /in adapters trained/);
    },
  },
  {
    key: "seed",
    value: 7,
    seen: "adapters begin with other values of A, and all with B = 0",
    given: { ...ADAPTERS, learning_rate: 1e-12 },
    check(changed, without) {
      const before = adapterOf(without);
      for (const [name, { values }] of adapterOf(changed)) {
        const same = values.filter((value, i) => value === before.get(name)!.values[i]).length;
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        if (name.includes("lora_A")) assert.deepEqual([same, largest > 0.1], [0, true], name);
        else assertMore(1e-9, largest);
      }
    },
  },
  {
    key: "lora_r",
    value: 4,
    seen: "A has so many rows and B so many columns",
    given: ADAPTERS,
    check(changed, without) {
      for (const [ran, rank] of [[changed, 4], [without, 16]] as const) {
        for (const [name, { shape }] of adapterOf(ran)) {
          assert.equal(name.includes("lora_A") ? shape[0] : shape[1], rank, name);
        }
        assert.equal(adapterConfig(ran).r, rank);
      }
    },
  },
  {
    key: "lora_alpha",
    value: 96,
    seen: "the first gradient is three times that of 32",
    given: ADAPTERS,
    check(changed, without) {
      assertClose(gradientRatio(changed, without), 3, 1e-5); // f32
      assert.equal(adapterConfig(changed).lora_alpha, 96);
    },
  },
  {
    key: "use_rslora",
    value: true,
    seen: "the scale is lora_alpha / sqrt(16): the first gradient is four times that of lora_alpha / 16",
    given: ADAPTERS,
    check(changed, without) {
      assertClose(gradientRatio(changed, without), 4, 1e-5); // f32
      assert.equal(adapterConfig(changed).use_rslora, true);
    },
  },
  {
    key: "lora_dropout",
    value: 0.1,
    seen: "it is refused",
    given: ADAPTERS,
    fails: /lora_dropout must be 0, got 0\.1/,
  },
  {
    key: "lora_target_modules",
    value: ["down_proj"],
    seen: "only these layers have an adapter",
    given: ADAPTERS,
    check(changed) {
      assert.deepEqual(adaptedModules(changed), ["down_proj"]);
      assert.deepEqual(adapterConfig(changed).target_modules, ["down_proj"]);
    },
  },
  {
    key: "lora_merge",
    value: true,
    seen: "merged/ holds the model with 32/16 B A added to the adapted weights and the others as they were",
    given: ADAPTERS,
    check(changed, without) {
      assert.ok(!isWritten(without, "merged"), "only where it is asked for");
      const adapter = adapterOf(changed);
      const whole = mergedOf(changed);
      const base = tensorsIn(join(scratch("policy"), "model.safetensors"));
      assert.deepEqual([...whole.keys()].sort(), [...base.keys()].sort());
      let moved = 0;
      for (const [name, before] of base) {
        const of = (letter: string) =>
          adapter.get(`base_model.model.${name.replace(/\.weight$/, "")}.lora_${letter}.weight`);
        const [a, b] = [of("A"), of("B")];
        const expected = a && b ? merged(before, a, b, 2) : Array.from(before.values);
        expected.forEach((value, i) => {
          const held = whole.get(name)!.values[i];
          assert.ok(Math.abs(held - value) < 1e-6, `${name}[${i}]`); // sums of 16 products in f32
          if (Math.abs(held - before.values[i]) > 1e-5) moved++;
        });
      }
      assert.ok(moved > 0, "the adapters were trained");
    },
  },
  {
    key: "lora_merge_dtype",
    value: "bfloat16",
    seen:
      "the merged weights are of 16 bits, config.json says so, and the run says what that kept of the training",
    given: { ...ADAPTERS, lora_merge: true },
    check(changed, without) {
      const dtypes = (ran: Ran) => [...new Set([...mergedOf(ran).values()].map(({ dtype }) => dtype))];
      assert.deepEqual([dtypes(changed), dtypes(without)], [["BF16"], ["F32"]]);
      const configOf = (ran: Ran) =>
        JSON.parse(readFileSync(join(runFolderOf(ran), "merged", "config.json"), "utf8")).dtype;
      assert.deepEqual([configOf(changed), configOf(without)], ["bfloat16", "float32"]);
      const kept = (ran: Ran): number =>
        JSON.parse(readFileSync(join(runFolderOf(ran), "merged", "lora_merge.json"), "utf8")).change_kept;
      assertMore(kept(without), kept(changed));
      assert.match(changed.output, /Merged: .* of the adapters' change is kept by lora_merge_dtype bfloat16/);
    },
  },
  {
    key: "lora_merge_bin",
    value: true,
    seen: "merged/ holds pytorch_model.bin too",
    given: { ...ADAPTERS, lora_merge: true },
    check(changed, without) {
      const name = join("merged", "pytorch_model.bin");
      assert.deepEqual([isWritten(changed, name), isWritten(without, name)], [true, false]);
    },
  },
];
