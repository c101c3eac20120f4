/** The tensors of the pytorch_model.bin that torch.load was seen to read (test/golden/torch_bin.json). */
import type { TensorSource } from "../../src/io/tensors/safetensors.ts";

/** Bytes that differ from their neighbours. */
export const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 37) % 256);

export const tensors: TensorSource[] = [
  { name: "model.embed.weight", dtype: "F32", shape: [3, 5], bytes: bytes(60) },
  { name: "naïve", dtype: "F16", shape: [2, 1, 4], bytes: () => Promise.resolve(bytes(16)) },
  { name: "bf16", dtype: "BF16", shape: [7], bytes: bytes(14) },
  { name: "scalar", dtype: "F32", shape: [], bytes: bytes(4) },
  { name: "empty", dtype: "F32", shape: [2, 0, 3], bytes: new Uint8Array() },
];
