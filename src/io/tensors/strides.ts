// Tensors in memory by shape and strides, pure. Strides count elements; row-major is the last axis without gaps.

/** Elements to step over per axis of a row-major tensor. As torch does, a size of 0 counts as 1. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= Math.max(shape[axis], 1);
  }
  return strides;
}

/** Whether the elements lie in row-major order without gaps; the stride of an axis of one element is free. */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  if (shape.includes(0)) return true;
  const required = rowMajorStrides(shape);
  return shape.every((size, axis) => size === 1 || strides[axis] === required[axis]);
}

/** Elements from the first to the last one, both counted; 0 for an empty tensor. */
export function spanOf(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((last, size, axis) => last + (size - 1) * strides[axis], 0) + 1;
}

const ARRAYS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/**
 * Bytes of a strided tensor in row-major order: element [i, j, ...] is source[i strides[0] + j strides[1] + ...].
 * @param source bytes from the tensor's first element on, aligned to the element size
 */
export function gatherStrided(
  source: Uint8Array,
  elementBytes: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array {
  // To the compiler all four are Uint32Array: elements are only copied.
  const Bits = ARRAYS[elementBytes as keyof typeof ARRAYS] as unknown as Uint32ArrayConstructor;
  const from = new Bits(source.buffer, source.byteOffset, source.byteLength / elementBytes);
  const count = shape.reduce((product, size) => product * size, 1);
  const to = new Bits(count);
  const last = shape.length - 1;
  const [rowLength, step] = last < 0 ? [1, 1] : [shape[last], strides[last]];
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  let rowStart = 0;
  for (let done = 0; done < count; done += rowLength) {
    for (let i = 0; i < rowLength; i++) to[done + i] = from[rowStart + i * step];
    for (let axis = last - 1; axis >= 0; axis--) {
      rowStart += strides[axis];
      if (++index[axis] < shape[axis]) break;
      rowStart -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return new Uint8Array(to.buffer);
}
