/** Values on their way between ranks in bfloat16: half the bytes; what is received is summed in f32. */
import type { Tensor } from "@tensorflow/tfjs";
import { copyTensor, emptyTensor } from "../gpu/tensors.ts";
import { packWeight, unpackWeight } from "../ops/weight/pack.ts";
import type { Weight } from "../ops/weight/weight.ts";

const asPacked = (tensor: Tensor, values: number): Weight => ({
  name: "values between ranks",
  shape: [values],
  format: "bf16",
  tensor,
  grad: null,
});

/** @returns the bits of each value in bfloat16, rounded to nearest even */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i];
    // A NaN whose set bits are all low would be rounded to infinity.
    rounded[i] = (word & 0x7fffffff) > 0x7f800000
      ? (word >>> 16) | 0x40
      : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return rounded;
}

export function fromBfloat16(rounded: Uint16Array): Float32Array {
  const bits = new Uint32Array(rounded.length);
  for (let i = 0; i < bits.length; i++) bits[i] = rounded[i] << 16;
  return new Float32Array(bits.buffer);
}

/** As toBfloat16, on the GPU. @returns int32 [ceil(size / 2)]: the even value in a word's low half */
export function packTensor(values: Tensor): Tensor {
  const words = Math.ceil(values.size / 2);
  const packed = emptyTensor([words], "int32");
  const even = values.size === 2 * words ? values : emptyTensor([2 * words]);
  if (even !== values) copyTensor(values, even);
  packWeight(even, asPacked(packed, 2 * words));
  if (even !== values) even.dispose();
  return packed;
}

/** @returns f32 [2 words] */
export function unpackTensor(packed: Tensor): Tensor {
  return unpackWeight(asPacked(packed, 2 * packed.size));
}
