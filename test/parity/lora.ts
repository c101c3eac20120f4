/** LoRA adapters that peft saved, opened, differentiated and merged here (golden/make/lora.py). */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { baseModelOf, makeAdapters } from "../../src/assembly/adapters.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { openAdapterFolder } from "../../src/io/model/adapter_folder.ts";
import { bytesToF32, f32ToBytes, type FloatDtype } from "../../src/io/tensors/dtype.ts";
import { type ModelFolder, openModelFolder } from "../../src/io/model/model_folder.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { parseAdapterConfig } from "../../src/policy/adapter_config.ts";
import { disposePolicyWeights, listAdapterWeights, mergeAdapter } from "../../src/policy/adapters.ts";
import type { AdapterSet, Policy } from "../../src/policy/trunk.ts";
import { disposeTrunk, makeTrunk } from "../../src/policy/transformer.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { loadPolicyWeights } from "../../src/policy/weights.ts";
import { accumulateGradients, golden as models, logitsOf, type ModelCase } from "./golden_models.ts";
import { type ParityLine, relativeFrobenius, worstOfRowMax } from "./line.ts";
import { sampledError } from "./sampler_logprobs.ts";

interface LoraCase {
  name: string;
  /** The case of models/cases.json whose sequences are used. */
  model: string;
}

type Adapted = Policy & { adapters: AdapterSet };
type Expected = ReadonlyMap<string, Float32Array>;
type Compare = (policy: Adapted, expected: Expected, one: ModelCase, base: ModelFolder) => Promise<number>;

const ROOT = new URL("../golden/lora/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("cases.json", ROOT), "utf8")) as { cases: LoraCase[] };

async function expectedOf(name: string): Promise<Expected> {
  const file = await openSafetensors(fileURLToPath(new URL(`${name}/expected.safetensors`, ROOT)));
  const values = new Map<string, Float32Array>();
  for (const [tensor, { dtype }] of file.tensors) {
    values.set(tensor, bytesToF32(await file.read(tensor), dtype));
  }
  await file.close();
  return values;
}

/** Opens an adapter by the program's own readers, with its base frozen as it is stored. */
async function errorOf({ name, model }: LoraCase, compare: Compare): Promise<number> {
  const adapter = (await openAdapterFolder(fileURLToPath(new URL(name, ROOT))))!;
  const base = await openModelFolder(await baseModelOf(adapter));
  const config = parseModelConfig(base.configText, base.configPath);
  const weights = await loadPolicyWeights(base.source, config, "frozen");
  const { rank, alpha, useRslora } = parseAdapterConfig(adapter.configText, adapter.configPath);
  const targets = [...new Set([...adapter.source.names()].map((tensor) => tensor.match(/\w+_proj/)![0]))];
  const settings = { rank, alpha, useRslora, targets, seed: 0 };
  const adapters = (await makeAdapters(weights, adapter, settings, config))!;
  const policy = { ...makeTrunk(config, weights), adapters };
  try {
    return await compare(
      policy,
      await expectedOf(name),
      models.cases.find((one) => one.name === model)!,
      base,
    );
  } finally {
    disposeTrunk(policy);
    disposePolicyWeights(policy);
    await base.close();
    await adapter.close();
  }
}

async function worstOf(compare: Compare): Promise<number> {
  let worst = 0;
  for (const one of cases) worst = Math.max(worst, await errorOf(one, compare));
  return worst;
}

const logitsError: Compare = async (policy, expected, { prompts, completions }) => {
  const sequences = prompts.map((ids, i) => [...ids, ...completions[i]]);
  return worstOfRowMax(await logitsOf(policy, sequences), expected.get("logits")!, policy.config.vocabSize);
};

const gradientsError: Compare = async (policy, expected, one) => {
  accumulateGradients(policy, one, expected.get("token_weights")!);
  const weights = listAdapterWeights(policy.adapters);
  const named = [...expected.keys()].filter((name) => name.startsWith("grad."));
  let worst = named.length === weights.length ? 0 : Infinity;
  for (const { name, grad } of weights) {
    worst = Math.max(worst, relativeFrobenius(await readFloats(grad!), expected.get(`grad.${name}`)!));
  }
  return worst;
};

/** Merged in f32 and rounded to the type that the base is stored in; bases of another type are left out. */
const mergeError = (wanted: FloatDtype): Compare => async ({ adapters }, expected, _one, { source }) => {
  let worst = 0;
  const named = [...expected.keys()].filter((name) => name.startsWith("merged."));
  if (named.length !== adapters.byWeight.size) return Infinity;
  for (const [{ name }, adapter] of adapters.byWeight) {
    const dtype = source.dtypeOf(name);
    if (dtype !== wanted) continue;
    const values = await source.read(name);
    await mergeAdapter(values, adapter);
    const merged = bytesToF32(f32ToBytes(values, dtype), dtype);
    worst = Math.max(worst, relativeFrobenius(merged, expected.get(`merged.${name}`)!));
  }
  return worst;
};

const ADAPTERS =
  "Llama 2 (all linear layers, rank 3), Llama with biases (rslora), Mistral in bf16 (all, rank 4)";

export const lines: ParityLine[] = [
  {
    what: `Logits with an adapter that peft saved: ${ADAPTERS}`,
    reference: "peft on transformers, f32 arithmetic",
    measure: "of the row's max",
    limit: 5e-5,
    worst: () => worstOf(logitsError),
  },
  {
    what:
      "Gradient of a token-weighted sum of log-probs for every A and B, from two micro-batches, the same adapters",
    reference: "torch autograd through peft",
    measure: "relative Frobenius, worst parameter",
    limit: 2e-4,
    worst: () => worstOf(gradientsError),
  },
  {
    what: "Log-probs of sampled tokens as decoding computed them, the same adapters",
    reference: "our training forward pass, the same tokens",
    measure: "largest difference, nats",
    limit: 0,
    worst: () => worstOf((policy, _expected, one) => sampledError(policy, one)),
  },
  {
    what: "Weights with the adapter merged in, f32",
    reference: "peft merge_and_unload",
    measure: "relative Frobenius, worst weight",
    limit: 5e-7,
    worst: () => worstOf(mergeError("F32")),
  },
  {
    what: "Weights with the adapter merged in, bf16",
    reference: "peft merge_and_unload",
    measure: "relative Frobenius, worst weight",
    limit: 5e-5,
    reason:
      "the f32 sum of one value in thousands lies so near the middle of two bf16 that its last bit decides",
    worst: () => worstOf(mergeError("BF16")),
  },
];
