/** The model that a base and its adapters make: in which types it is written, and what their rounding leaves of it. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { mergeMessage, type MergeParts, writeMergedModel } from "../../src/assembly/merged_model.ts";
import { loadTrunk } from "../../src/assembly/models.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { writeTensor } from "../../src/gpu/tensors.ts";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { openTorchBin } from "../../src/io/torch/reader.ts";
import { createAdapters, mergeAdapter } from "../../src/policy/adapters.ts";
import type { AdapterSet, Policy } from "../../src/policy/trunk.ts";
import { randomFloats } from "../cases/case.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";

const BASE = fileURLToPath(new URL("../golden/models/mistral_bf16", import.meta.url));
const TIED = fileURLToPath(new URL("../golden/models/llama3", import.meta.url));
const ADAPTER = { rank: 3, alpha: 3, useRslora: false };
const QUERY = "model.layers.0.self_attn.q_proj.weight";
const VALUE = "model.layers.0.self_attn.v_proj.weight";

type Asked = RunConfig["lora_merge_dtype"];
const merging = (lora_merge_dtype: Asked, lora_merge_bin = false) => ({ lora_merge_dtype, lora_merge_bin });

/** The base with adapters on queries alone, whose B is of this size. */
async function adapted(dir: string, size: number): Promise<Policy> {
  const { policy } = await loadTrunk(dir, "frozen");
  const adapters = createAdapters(policy.weights, ADAPTER, ["q_proj"], 5);
  [...adapters.byWeight.values()].forEach(({ b }, i) =>
    writeTensor(b.tensor, Float32Array.from(randomFloats(i + 1, b.shape[0] * b.shape[1], size)))
  );
  return { ...policy, adapters };
}

/** W + B A of the first layer's queries, in f32. */
async function expectedQuery(policy: Policy, dir: string): Promise<Float32Array> {
  const base = await openModelFolder(dir);
  const values = await base.source.read(QUERY);
  await base.close();
  await mergeAdapter(values, policy.adapters!.byWeight.get(policy.weights.layers[0].query!)!);
  return values;
}

/** All values that the adapters change. */
async function queriesIn(dir: string): Promise<number[]> {
  const { source, close } = await openModelFolder(dir);
  const values: number[] = [];
  for (const name of source.names()) if (name.includes("q_proj")) values.push(...await source.read(name));
  await close();
  return values;
}

const partsOf = (baseDir: string, adapters: AdapterSet | undefined): MergeParts => ({
  baseDir,
  adapters: adapters!,
  tokenizerFiles: [],
});

describe("a merged model", () => {
  before(openGpu);
  after(closeGpu);

  it("keeps the whole change in f32, in a file whose other tensors are no wider than the base's", () =>
    withScratchFolder(async (scratch) => {
      const [dir, policy] = [join(scratch, "merged"), await adapted(BASE, 1e-4)];
      const kept = await writeMergedModel(dir, partsOf(BASE, policy.adapters), merging("float32"));
      assert.ok(kept > 0.995, `${kept}`);
      const folder = await openModelFolder(dir);
      assert.deepEqual(await folder.source.read(QUERY), await expectedQuery(policy, BASE));
      assert.deepEqual([folder.source.dtypeOf(QUERY), folder.source.dtypeOf(VALUE)], ["F32", "BF16"]);
      assert.equal(JSON.parse(folder.configText).dtype, "float32");
      await folder.close();
      assert.ok(!(await readdir(dir)).includes("pytorch_model.bin"));
    }));

  it("says how much of a small change 16 bits round away", () =>
    withScratchFolder(async (scratch) => {
      const keptBy = async (size: number, asked: Asked) => {
        const dir = join(scratch, `${size}${asked}`);
        const { adapters } = await adapted(BASE, size);
        const kept = await writeMergedModel(dir, partsOf(BASE, adapters), merging(asked));
        const record = JSON.parse(await readFile(join(dir, "lora_merge.json"), "utf8"));
        assert.deepEqual(record, { dtype: asked, change_kept: kept });
        return kept;
      };
      assert.ok(await keptBy(1e-7, "base") < 0.01, "below half of the last bit nothing is kept");
      const [small, large] = [await keptBy(1e-2, "bfloat16"), await keptBy(0.5, "bfloat16")];
      assert.ok(small > 0.1 && small < 0.97 && large > small, `${small}, ${large}`);
      await keptBy(1e-2, "float32");
      const [base, exact, rounded] = [
        await queriesIn(BASE),
        await queriesIn(join(scratch, "0.01float32")),
        await queriesIn(join(scratch, "0.01bfloat16")),
      ];
      const distance = (a: number[], b: number[]) => Math.hypot(...a.map((value, i) => value - b[i]));
      const expected = 1 - distance(rounded, exact) / distance(exact, base);
      assert.ok(Math.abs(small - expected) < 1e-3, `${small}, ${expected} by the files`);
      assert.match(mergeMessage(0.514, "bfloat16"), /^Merged: 51\.4 % .*lora_merge_dtype float32 keeps it/);
      assert.doesNotMatch(mergeMessage(0.9999, "float32"), /keeps it/);
    }));

  it("is all of the base's types where they are asked for, and all of 16 bits where those are", () =>
    withScratchFolder(async (scratch) => {
      const { adapters } = await adapted(TIED, 0.1);
      const dtypesOf = async (asked: Asked) => {
        const dir = join(scratch, asked);
        await writeMergedModel(dir, partsOf(TIED, adapters), merging(asked));
        const file = await openSafetensors(join(dir, "model.safetensors"));
        await file.close();
        return [...new Set([...file.tensors.values()].map(({ dtype }) => dtype))];
      };
      assert.deepEqual(await dtypesOf("base"), ["F32"]);
      assert.deepEqual(await dtypesOf("bfloat16"), ["BF16"]);
      assert.deepEqual(await dtypesOf("float16"), ["F16"]);
    }));

  it("is written as pytorch_model.bin too where that is asked for, with the same bytes", () =>
    withScratchFolder(async (scratch) => {
      const [dir, { adapters }] = [join(scratch, "merged"), await adapted(BASE, 0.1)];
      await writeMergedModel(dir, partsOf(BASE, adapters), merging("float32", true));
      const safetensors = await openSafetensors(join(dir, "model.safetensors"));
      const bin = await openTorchBin(join(dir, "pytorch_model.bin"));
      assert.deepEqual([...bin.tensors.keys()].sort(), [...safetensors.tensors.keys()].sort());
      for (const name of bin.tensors.keys()) {
        assert.deepEqual(await bin.read(name), await safetensors.read(name), name);
      }
      await safetensors.close();
      await bin.close();
    }));

  it("of a tied base that holds its matrix as the head alone has it as the embedding, and nothing unused", () =>
    withScratchFolder(async (scratch) => {
      const reader = await openSafetensors(join(TIED, "model.safetensors"));
      const tensors = await Promise.all(
        [...reader.tensors].map(async ([name, { shape }]) => ({
          name: name === "model.embed_tokens.weight" ? "lm_head.weight" : name,
          dtype: "F32" as const,
          shape,
          bytes: await reader.read(name),
        })),
      );
      await reader.close();
      const unused = {
        name: "model.layers.0.self_attn.rotary_emb.inv_freq",
        shape: [1],
        bytes: new Uint8Array(4),
      };
      await writeSafetensors(join(scratch, "model.safetensors"), [...tensors, { ...unused, dtype: "F32" }]);
      await writeFile(join(scratch, "config.json"), await readFile(join(TIED, "config.json")));
      const [dir, { adapters }] = [join(scratch, "merged"), await adapted(scratch, 0.1)];
      await writeMergedModel(dir, partsOf(scratch, adapters), merging("base"));
      const merged = await openSafetensors(join(dir, "model.safetensors"));
      const original = await openSafetensors(join(TIED, "model.safetensors"));
      assert.deepEqual([...merged.tensors.keys()].sort(), [...original.tensors.keys()].sort());
      const embedding = "model.embed_tokens.weight";
      assert.deepEqual(await merged.read(embedding), await original.read(embedding));
      await merged.close();
      await original.close();
    }));
});
