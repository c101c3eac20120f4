/** Weights that are converted as they are read, against torch and transformers (golden/make/weight_formats.py). */
import { fileURLToPath } from "node:url";
import { convertedWeights } from "../../src/io/model/converted_weights.ts";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { differences, type ParityLine } from "./line.ts";

const PATH = fileURLToPath(new URL("../golden/weight_formats.safetensors", import.meta.url));

/** Values that differ, of all weights or of those that match. */
async function differing(pattern: RegExp): Promise<number> {
  const stored = await openSafetensors(PATH);
  const reader = convertedWeights(stored, PATH, { areScaled: false, block: [4, 4] });
  const bitsOf = async (name: string) => {
    const values = bytesToF32(await reader.read(name), reader.tensors.get(name)!.dtype);
    return Array.from(values, (value) => Number.isNaN(value) ? "NaN" : String(value));
  };
  const names = [...reader.tensors.keys()].filter((name) => name.endsWith(".weight") && pattern.test(name));
  let count = names.length > 0 ? 0 : -1;
  for (const name of names) {
    count += differences(await bitsOf(name), await bitsOf(name.replace(".weight", ".expected")));
  }
  await stored.close();
  return count;
}

export const lines: ParityLine[] = [
  {
    what: "Every code of both 8-bit floats, and f64, as f32",
    reference: "torch",
    measure: "values that differ",
    limit: 0,
    worst: () => differing(/^(e4m3|e5m2|double)/),
  },
  {
    what: "8-bit weights with a scale for all, each row or each block (f32, bf16, powers of two), as bf16",
    reference: "transformers' Fp8Dequantize; torch where it refuses the shape",
    measure: "values that differ",
    limit: 0,
    worst: () => differing(/^(block|row|all|one|cut|list)/),
  },
];
