/** Random weights of any shape, made on the spot: a model of 7B needs no file. */
import { emptyTensor, writeTensor } from "../src/gpu/tensors.ts";
import { f32ToBytes } from "../src/io/tensors/dtype.ts";
import type { WeightFormat } from "../src/ops/weight/weight.ts";
import { emptySource, type WeightSource } from "../src/policy/weight_source.ts";
import { randomFloats } from "../test/cases/case.ts";
import { type LlamaShape, llamaShapes } from "./random_llama.ts";

/** Values are repeated after so many: making 7e9 of them would take minutes. */
const BLOCK = 1 << 20;
/** Standard deviation about 0.02, as models begin. */
const SCALE = 0.035;

/** A source of random matrices in `format` and norms of 1, written on the GPU piece by piece. */
export function randomSource(shape: LlamaShape, format: WeightFormat): WeightSource {
  const shapes = new Map(llamaShapes(shape));
  const random = Float32Array.from(randomFloats(1, BLOCK, SCALE));
  const blocks: Record<WeightFormat, ArrayBufferView> = {
    f32: random,
    bf16: f32ToBytes(random, "BF16"),
    f16: f32ToBytes(random, "F16"),
  };
  const formatOf = (name: string): WeightFormat => shapes.get(name)!.length === 2 ? format : "f32";
  const { shapeOf, read } = emptySource((name) => shapes.get(name), formatOf);
  return {
    path: "random weights",
    shapeOf,
    formatOf,
    read,
    upload(name, format) {
      const own = [...shapeOf(name)!];
      if (own.length === 1) return Promise.resolve(filled(own, new Float32Array(own[0]).fill(1)));
      return Promise.resolve(
        format === "f32" ? filled(own, blocks.f32) : filled([own[0], own[1] / 2], blocks[format], "int32"),
      );
    },
  };
}

function filled(shape: number[], block: ArrayBufferView, dtype: "float32" | "int32" = "float32") {
  const tensor = emptyTensor(shape, dtype);
  const sizeBytes = tensor.size * 4;
  for (let at = 0; at < sizeBytes; at += block.byteLength) {
    const count = Math.min(block.byteLength, sizeBytes - at);
    writeTensor(tensor, new Uint8Array(block.buffer, block.byteOffset, count), at);
  }
  return tensor;
}
