/** Weights in formats that no GPU takes, and the values that torch and transformers give them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { convertedWeights } from "../../src/io/model/converted_weights.ts";
import { bytesToF32 } from "../../src/io/tensors/dtype.ts";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import type { StoredDtype } from "../../src/io/tensors/dtype.ts";
import type { TensorInfo, TensorReader } from "../../src/io/tensors/tensor_reader.ts";
import { openTorchBin } from "../../src/io/torch/reader.ts";

const GOLDEN = fileURLToPath(new URL("../golden/", import.meta.url));

async function withReader(file: string, body: (reader: TensorReader) => void | Promise<void>): Promise<void> {
  const path = join(GOLDEN, file);
  const reader = await (file.endsWith(".bin") ? openTorchBin(path) : openSafetensors(path));
  try {
    await body(reader);
  } finally {
    await reader.close();
  }
}

/** As a list: of typed arrays assert holds two NaNs to differ. */
async function valuesOf(reader: TensorReader, name: string): Promise<number[]> {
  return Array.from(bytesToF32(await reader.read(name), reader.tensors.get(name)!.dtype));
}

/** A reader of these tensors, without values. */
function announced(tensors: Record<string, [dtype: StoredDtype, shape: number[]]>): TensorReader {
  const infos = Object.entries(tensors).map(([name, [dtype, shape]]): [string, TensorInfo] => [
    name,
    { dtype, shape, byteLength: shape.reduce((size, n) => size * n, 1) },
  ]);
  return {
    tensors: new Map(infos),
    metadata: {},
    read: (name) => Promise.resolve(new Uint8Array(new Map(infos).get(name)!.byteLength)),
    close: () => Promise.resolve(),
  };
}

describe("weights that are converted as they are read", () => {
  for (const [file, count] of [["weight_formats.safetensors", 11], ["weight_formats.bin", 1]] as const) {
    it(`have, bit for bit, the values of torch and transformers, whole and in pieces: ${file}`, () =>
      withReader(file, async (stored) => {
        const reader = convertedWeights(stored, file, [4, 4]);
        const weights = [...reader.tensors.keys()].filter((name) => name.endsWith(".weight"));
        assert.equal(weights.length, count);
        for (const name of weights) {
          const expected = await valuesOf(reader, name.replace(".weight", ".expected"));
          assert.deepEqual(await valuesOf(reader, name), expected, name);
          const { byteLength } = reader.tensors.get(name)!;
          const bytes = await reader.read(name);
          const at = byteLength / 4 - byteLength / 4 % 4 + 4;
          assert.deepEqual(await reader.read(name, at, 8), bytes.slice(at, at + 8), `${name} from ${at} on`);
        }
      }));
  }

  it("come without their scales, and without those of activations", () =>
    withReader("weight_formats.safetensors", (stored) => {
      const names = [...convertedWeights(stored, "m", [4, 4]).tensors.keys()];
      assert.deepEqual(names.filter((name) => name.includes("scale")), []);
    }));

  it("have the blocks that the scale's shape says, where config.json says none", () =>
    withReader("weight_formats.safetensors", async (stored) => {
      const { tensors } = stored;
      const uncut = {
        ...stored,
        tensors: new Map([...tensors].filter(([name]) => !name.startsWith("cut."))),
      };
      const reader = convertedWeights(uncut, "m", null);
      assert.deepEqual(await valuesOf(reader, "block.weight"), await valuesOf(reader, "block.expected"));
      assert.throws(
        () => convertedWeights(stored, "m", null),
        /"cut\.weight_scale_inv" of shape \[2,3\] does not fit/,
      );
    }));

  it("whose scale is of another shape or no float are refused by name", async () => {
    const open = (scale: [StoredDtype, number[]], block: [number, number] | null = null) =>
      convertedWeights(announced({ "w.weight": ["F8_E4M3", [8, 12]], "w.weight_scale": scale }), "m", block);
    for (const shape of [[3, 3], [12], [0, 3], [2, 3, 1]]) {
      assert.throws(
        () => open(["F32", shape]),
        /Cannot read 'm': "w\.weight_scale" of shape \[.*\] does not fit its weight of shape \[8,12\]/,
      );
    }
    assert.throws(() => open(["F32", [2, 3]], [128, 128]), /for each block of 128x128/);
    await assert.rejects(
      open(["U8", [2, 3]]).read("w.weight"),
      /"w\.weight_scale" has dtype U8, required a float/,
    );
  });
});
