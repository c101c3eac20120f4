/** The whole model that a base and its adapters make, as files, and how much of the training their rounding keeps. */
import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { writeDirectoryAtomic, writeFileAtomic } from "../io/files/atomic_files.ts";
import { changedJson } from "../io/files/json_text.ts";
import { openModelFolder, type TensorValues } from "../io/model/model_folder.ts";
import { bytesToF32, f32ToBytes, type FloatDtype, isFloatDtype } from "../io/tensors/dtype.ts";
import { type TensorSource, writeSafetensors } from "../io/tensors/safetensors.ts";
import { writeTorchBin } from "../io/torch/writer.ts";
import { adapterDelta } from "../policy/adapters.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import type { Adapter, AdapterSet } from "../policy/trunk.ts";
import { isEmbeddingHead, isUnused } from "../policy/weights.ts";

type MergeDtype = RunConfig["lora_merge_dtype"];

const STORED: Readonly<Record<Exclude<MergeDtype, "base">, FloatDtype>> = {
  float32: "F32",
  bfloat16: "BF16",
  float16: "F16",
};

/** The squares of what adapters change, and of what rounding the sums takes from it. */
class RoundingLoss {
  #change = 0;
  #error = 0;

  /** @param exact W + scale B A. @param rounded the same as it is written */
  add(delta: Float32Array, exact: Float64Array, rounded: Float32Array): void {
    for (let i = 0; i < delta.length; i++) {
      this.#change += delta[i] ** 2;
      this.#error += (rounded[i] - exact[i]) ** 2;
    }
  }

  /** 1 - |rounded - exact| / |change|, at least 0: where every sum rounds back to its base, nothing is kept. */
  keptShare(): number {
    return this.#change === 0 ? 1 : Math.max(0, 1 - Math.sqrt(this.#error / this.#change));
  }
}

/**
 * The type that a tensor is written in. What an adapter changed is written as asked for. What none changed is exact in
 * its own type, and is widened by no file.
 */
function writtenDtype(stored: FloatDtype, isChanged: boolean, asked: MergeDtype): FloatDtype {
  if (asked === "base") return stored;
  return asked === "float32" && !isChanged ? stored : STORED[asked];
}

async function mergedBytes(
  values: Float32Array,
  adapter: Adapter,
  dtype: FloatDtype,
  loss: RoundingLoss,
): Promise<Uint8Array> {
  const columns = adapter.a.shape[1];
  for await (const { first, values: delta } of adapterDelta(adapter)) {
    const rows = values.subarray(first * columns, first * columns + delta.length);
    const exact = Float64Array.from(rows, (value, i) => value + delta[i]);
    rows.set(exact);
    loss.add(delta, exact, bytesToF32(f32ToBytes(rows, dtype), dtype));
  }
  return f32ToBytes(values, dtype);
}

/** The base model's tensors with the adapters merged in; each is read when its turn comes. */
function mergedTensors(
  source: TensorValues,
  adapters: AdapterSet,
  asked: MergeDtype,
  loss: RoundingLoss,
): TensorSource[] {
  const byName = new Map([...adapters.byWeight].map(([weight, adapter]) => [weight.name, adapter]));
  return [...source.names()].filter((name) => !isUnused(name)).map((name) => {
    const stored = source.dtypeOf(name)!;
    if (!isFloatDtype(stored)) {
      throw new TypeError(
        `${source.path}: tensor "${name}" has dtype ${stored}, required F32, BF16 or F16`,
      );
    }
    const adapter = byName.get(name);
    const dtype = writtenDtype(stored, adapter !== undefined, asked);
    const bytes = async () => {
      const values = await source.read(name);
      return adapter ? await mergedBytes(values, adapter, dtype, loss) : f32ToBytes(values, dtype);
    };
    return { name, dtype, shape: source.shapeOf(name)!, bytes };
  });
}

/** config.json with the type that other programs are to hold the model in. */
function mergedConfig(configText: string, asked: MergeDtype): string {
  if (asked === "base") return configText;
  return `${changedJson(configText, (json) => ({ ...json, dtype: asked, torch_dtype: asked }))}\n`;
}

/** What a merge is told about in the folder that it makes. */
const MERGE_RECORD = "lora_merge.json";

/** What a merge is made of. */
export interface MergeParts {
  /** Folder of the base model. */
  baseDir: string;
  adapters: AdapterSet;
  /** Copied as they are. */
  tokenizerFiles: readonly string[];
}

/**
 * Writes the whole model, as `peft`'s merge_and_unload makes it, to a folder of its own: beside adapter_config.json
 * other programs would load the adapter once more.
 * @returns the share of the adapters' change that the written type keeps, 0 to 1
 */
export async function writeMergedModel(
  dir: string,
  { baseDir, adapters, tokenizerFiles }: MergeParts,
  config: Pick<RunConfig, "lora_merge_dtype" | "lora_merge_bin">,
): Promise<number> {
  const { lora_merge_dtype: asked } = config;
  const base = await openModelFolder(baseDir);
  const { source, configText, configPath } = base;
  const loss = new RoundingLoss();
  try {
    const model = parseModelConfig(configText, configPath);
    const { embedding, head } = model.layout;
    const alone = isEmbeddingHead(source, model);
    // transformers looks for a tied matrix under the embedding's name.
    const tensors = mergedTensors(source, adapters, asked, loss)
      .map((tensor) => alone && tensor.name === head ? { ...tensor, name: embedding } : tensor);
    await writeDirectoryAtomic(dir, async (partial) => {
      await writeSafetensors(join(partial, "model.safetensors"), tensors);
      if (config.lora_merge_bin) await writeTorchBin(join(partial, "pytorch_model.bin"), tensors);
      await writeFileAtomic(join(partial, "config.json"), mergedConfig(configText, asked));
      const record = { dtype: asked, change_kept: loss.keptShare() };
      await writeFileAtomic(join(partial, MERGE_RECORD), `${JSON.stringify(record)}\n`);
      for (const file of tokenizerFiles) await copyFile(file, join(partial, basename(file)));
    });
    return loss.keptShare();
  } finally {
    await base.close();
  }
}

/** What a merge says of itself. @param kept as of writeMergedModel */
export function mergeMessage(kept: number, dtype: MergeDtype): string {
  const share = kept > 0.9995 ? "all" : `${(100 * kept).toFixed(1)} %`;
  const remedy = kept < 0.95 && dtype !== "float32"
    ? "; lora_merge_dtype float32 keeps it, and so does the adapter on its base"
    : "";
  return `Merged: ${share} of the adapters' change is kept by lora_merge_dtype ${dtype}${remedy}`;
}
