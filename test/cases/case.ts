/**
 * One case of one op. The same list drives the test against the f64 twin, the finite-difference test of the
 * gradient, the guard-word test and the benchmark.
 */
import type { Tensor } from "@tensorflow/tfjs";
import type { Weight, WeightFormat } from "../../src/ops/weight/weight.ts";

/** Values of one input. Float64Array: sent to the GPU as f32. Int32Array: sent as i32, never differentiated. */
export interface CaseInput {
  shape: number[];
  values: Float64Array | Int32Array;
  /** Set: the op takes it as a Weight of this format (its gradient is read from Weight.grad, f32 only). */
  weight?: WeightFormat;
}

export type Arrays = Record<string, Float64Array | Int32Array>;
export interface Operands {
  tensors: Record<string, Tensor>;
  weights: Record<string, Weight>;
}

export interface OpCase {
  /** Op and what is special in this case: "rms_norm 7x33". */
  name: string;
  inputs: Record<string, CaseInput>;
  /** Runs the op; in-place ops return the tensors they changed. */
  run(operands: Operands): Tensor[];
  /** The same outputs in f64. Packed weights reach it already rounded to their format. */
  twin(arrays: Arrays): ArrayLike<number>[];
  gradient?: {
    /** Differentiable inputs and weights. */
    wrt: string[];
    /** Which output of `run` is differentiated (0 unless set). */
    output?: number;
    twin(arrays: Arrays, dy: Float64Array): Record<string, ArrayLike<number>>;
  };
  /** Largest |gpu - twin| allowed, relative to the largest |twin| of that output. */
  tolerance: number;
  /** Why the tolerance is what it is. */
  toleranceReason: string;
  /** Set on cases that are also benchmarks. */
  bench?: {
    flops?: number;
    /** Bytes that must move at least once: read + written. */
    bytes?: number;
    /** The same maths composed of stock tfjs ops. */
    plainTfjs?(operands: Operands): Tensor[];
  };
  /** Set on cases too large for the test suite (benchmark only). */
  benchOnly?: boolean;
}

/** Uniform in [-scale, scale), the same on every machine (mulberry32). */
export function randomFloats(seed: number, count: number, scale = 1): Float64Array {
  const values = new Float64Array(count);
  let state = seed >>> 0;
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    values[i] = Math.fround((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 * 2 - 1) * scale);
  }
  return values;
}

export function randomInts(seed: number, count: number, below: number): Int32Array {
  return Int32Array.from(
    randomFloats(seed, count, 0.5),
    (u) => Math.min(below - 1, Math.floor((u + 0.5) * below)),
  );
}

/** A random input of the given shape. Its values are made when first read: a benchmark's can be hundreds of MB. */
export function uniform(seed: number, shape: number[], scale = 1): CaseInput {
  let values: Float64Array | undefined;
  return {
    shape,
    get values() {
      return values ??= randomFloats(seed, shape.reduce((a, b) => a * b, 1), scale);
    },
  };
}

/** A random weight of the given shape and format. */
export function uniformWeight(
  seed: number,
  shape: number[],
  format: WeightFormat = "f32",
  scale = 1,
): CaseInput {
  return Object.assign(uniform(seed, shape, scale), { weight: format });
}
