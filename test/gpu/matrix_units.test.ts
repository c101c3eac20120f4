/**
 * Linear layers on matrix units. No software GPU has them, so their kernel is compiled, bound and dispatched on Dawn's null
 * device, which checks all of that and computes nothing; and it is run with lanes in the place of the units.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { linearCase } from "../cases/linear/linear.ts";
import { caseOperands } from "../cases/operands.ts";
import { type BufferPool, tfjsBackend } from "../../src/gpu/backend.ts";
import { flush } from "../../src/gpu/queue.ts";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";
import {
  matmulPrecision,
  type MatrixFacts,
  matrixUnitsMissing,
  setMatmulPrecision,
} from "../../src/gpu/precision.ts";
import { withFloat16Matmuls } from "../../src/gpu/trial_modes.ts";
import { linearF64 } from "../../src/ops/linear/linear.ts";
import { linearF16F64, linearGradXF16F64, rowShiftsF64 } from "../../src/ops/linear/matrix_units.ts";
import { runEmulatedMatrices } from "./emulated_matrices.ts";
import { leftOut } from "../left_out.ts";

const FEATURES = [
  "shader-f16",
  "subgroups",
  "chromium-experimental-subgroup-matrix",
] as const;
const SHAPE = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };

function facts(adapterInfo: Partial<MatrixFacts["adapterInfo"]> = {}): MatrixFacts {
  return {
    features: new Set<string>(FEATURES),
    limits: { maxComputeInvocationsPerWorkgroup: 256 },
    adapterInfo: { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [SHAPE], ...adapterInfo },
  };
}

/** A device that Dawn checks all calls to, and that does nothing. It says 4 to 128 lanes: we take it for one of 32. */
async function openNullDevice(): Promise<GPUDevice> {
  const { create } = await import("webgpu");
  const entry = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]) as unknown as GPU;
  const adapter = await entry.requestAdapter();
  assert.ok(adapter);
  const device = await adapter.requestDevice({
    requiredFeatures: [...FEATURES] as unknown as GPUFeatureName[],
  });
  return Object.defineProperty(device, "adapterInfo", {
    value: { subgroupMinSize: 32, subgroupMaxSize: 32 },
  });
}

/** Runs `body` with tfjs on another device; returns what the device found wrong. */
async function errorsOn(other: GPUDevice, body: () => void): Promise<string | undefined> {
  flush();
  const backend = tfjsBackend();
  const { device, queue, bufferManager } = backend;
  const PoolClass = bufferManager.constructor as new (device: GPUDevice) => BufferPool;
  Object.assign(backend, { device: other, queue: other.queue, bufferManager: new PoolClass(other) });
  other.pushErrorScope("validation");
  tf.engine().startScope();
  try {
    body();
  } finally {
    flush();
    tf.engine().endScope();
    Object.assign(backend, { device, queue, bufferManager });
  }
  return (await other.popErrorScope())?.message;
}

/** Largest |a - b| relative to what the products sum to without their signs. */
function largestError(a: Float64Array, b: Float64Array, x: Float64Array, w: Float64Array, K: number): number {
  const N = w.length / K;
  const sizes = linearF64(x.map(Math.abs), w.map(Math.abs), { M: x.length / K, K, N });
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]) / sizes[i]));
}

function scaledRows(seed: number, rows: number, width: number, scale: (row: number) => number): Float64Array {
  return randomFloats(seed, rows * width).map((value, i) =>
    Math.fround(value * scale(Math.floor(i / width)))
  );
}

/** Rows of a linear layer's output, lanes in the place of the units; what lies behind each row was 7 before. */
async function emulatedRows(
  { x, w, bias, residual }: Record<"x" | "w" | "bias" | "residual", ArrayLike<number>>,
  [M, K, N, stride]: number[],
): Promise<number[][]> {
  const y = upload(new Float32Array(M * stride).fill(7));
  runEmulatedMatrices({
    kernel: "linear_matrix",
    conditions: { BIAS: true, RESIDUAL: true },
    bindings: {
      x: upload(x),
      w: upload(w),
      bias: upload(bias),
      residual: upload(residual),
      y,
      row_shift: uploadShifts(rowShiftsF64(x, M, K)),
      w_shift: uploadShifts(rowShiftsF64(w, N, K)),
    },
    params: [M, K, N, stride],
    workgroups: [Math.ceil(N / 64), Math.ceil(M / 64)],
  });
  return rowsOf(await readFloats(y), M, stride);
}

const upload = (values: ArrayLike<number>) => uploadTensor(Float32Array.from(values), [values.length]);
const uploadShifts = (values: Int32Array) => uploadTensor(values, [values.length]);

function rowsOf(values: ArrayLike<number>, rows: number, width: number): number[][] {
  return Array.from({ length: rows }, (_, m) => Array.from(values).slice(m * width, (m + 1) * width));
}

/** Products are exact, and their sums in f32: to 1e-6 of a row's largest. */
function assertClose(actual: number[][], expected: number[][]): void {
  for (const [m, row] of expected.entries()) {
    const largest = Math.max(...row.map(Math.abs));
    row.forEach((value, n) => {
      assert.ok(
        Math.abs(actual[m][n] - value) <= 1e-6 * largest,
        `row ${m}, column ${n}: ${actual[m][n]}, not ${value}`,
      );
    });
  }
}

describe("linear layers on matrix units", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("need the features, the shape, one size of subgroups, and lanes for four of them", () => {
    assert.equal(matrixUnitsMissing(facts()), undefined);
    const none = { ...facts(), features: new Set(["shader-f16"]) };
    assert.match(matrixUnitsMissing(none) ?? "", /lacks subgroups, chromium-experimental-subgroup-matrix/);
    const others = [{ ...SHAPE, resultComponentType: "f16" }, { ...SHAPE, K: 8 }];
    assert.match(matrixUnitsMissing(facts({ subgroupMatrixConfigs: others })) ?? "", /no f16 matrices/);
    assert.match(matrixUnitsMissing(facts({ subgroupMatrixConfigs: undefined })) ?? "", /no f16 matrices/);
    assert.match(matrixUnitsMissing(facts({ subgroupMaxSize: 64 })) ?? "", /32 to 64 lanes/);
    assert.match(
      matrixUnitsMissing(facts({ subgroupMinSize: 128, subgroupMaxSize: 128 })) ?? "",
      /256 lanes, fewer than/,
    );
  });

  it("are off unless asked for, and refused where the device cannot", () => {
    assert.equal(matmulPrecision(), "float32");
    assert.throws(() => setMatmulPrecision("float16"), /Cannot multiply matrices in float16.*leave.*float32/);
    assert.equal(matmulPrecision(), "float32");
    setMatmulPrecision("float32");
  });

  const skip = detectRuntime() === "deno" &&
    leftOut("matrix units pass Dawn's checks", "Deno offers neither matrix units nor Dawn's null device");
  it("pass Dawn's checks in every format, with bias and without", { skip }, async () => {
    const device = await openNullDevice();
    const cases = [
      linearCase(130, 36, 70),
      linearCase(1, 8, 3, { bias: "f32", rows: "few" }),
      linearCase(9, 48, 40, { format: "bf16", bias: "bf16" }),
      linearCase(300, 64, 130, { format: "f16", bias: "f16", residual: true }),
    ];
    for (const opCase of cases) {
      const errors = await errorsOn(device, () => {
        const { tensors, weights } = caseOperands(opCase);
        const output = () => opCase.run({ tensors, weights })[0];
        withFloat16Matmuls(() => tf.engine().gradients(output, [tensors.x], undefined, false));
      });
      assert.equal(errors, undefined, opCase.name);
    }
    device.destroy();
  });

  for (const [M, K, N, stride] of [[130, 36, 70, 72], [1, 8, 3, 4], [65, 100, 129, 140]]) {
    it(`${M}x${K}x${N}: the output, lanes in the place of the units, equals its twin`, async (test) => {
      if (!tfjsBackend().device.features.has("shader-f16")) {
        return test.skip(leftOut(test.name, "this device has no f16"));
      }
      const x = scaledRows(1, M, K, (m) => 2 ** (m % 60 - 30));
      const w = scaledRows(2, N, K, (n) => 2 ** (n % 20 - 10));
      const bias = randomFloats(3, N);
      const residual = randomFloats(4, M * stride);
      const made = await emulatedRows({ x, w, bias, residual }, [M, K, N, stride]);
      const sums = linearF16F64(x, w, { M, K, N, bias }).map((sum, i) =>
        sum + residual[Math.floor(i / N) * stride + i % N]
      );
      assertClose(made.map((row) => row.slice(0, N)), rowsOf(sums, M, N));
      assert.ok(made.every((row) => row.slice(N).every((value) => value === 7)));
    });

    it(`${M}x${K}x${N}: products far below 1 are shifted back in two steps, each of which f32 holds`, async (test) => {
      if (!tfjsBackend().device.features.has("shader-f16")) {
        return test.skip(leftOut(test.name, "this device has no f16"));
      }
      const [x, w] = [scaledRows(1, M, K, () => 2 ** -50), scaledRows(2, N, K, () => 2 ** -50)];
      const [bias, residual] = [new Float32Array(N), new Float32Array(M * stride)];
      const made = await emulatedRows({ x, w, bias, residual }, [M, K, N, stride]);
      const sums = linearF16F64(x, w, { M, K, N, bias });
      assertClose(made.map((row) => row.slice(0, N)), rowsOf(sums, M, N));
    });

    it(`${M}x${K}x${N}: the input's gradient, added or not, equals its twin`, async (test) => {
      if (!tfjsBackend().device.features.has("shader-f16")) {
        return test.skip(leftOut(test.name, "this device has no f16"));
      }
      const dy = scaledRows(1, M, N, (m) => 2 ** (m % 60 - 30));
      const w = scaledRows(2, N, K, (n) => 2 ** (n % 20 - 10));
      const strided = new Float32Array(M * stride).fill(NaN);
      rowsOf(dy, M, N).forEach((row, m) => strided.set(row, m * stride));
      const columns = rowShiftsF64(w, N, K);
      const taken = dy.map((value, i) => value / 2 ** columns[i % N]);
      const expected = linearGradXF16F64(dy, w, { M, K, N });
      for (const ADD of [false, true]) {
        const dx = upload(Float32Array.from(expected, (value) => 3 * value));
        runEmulatedMatrices({
          kernel: "linear_grad_x_matrix",
          conditions: { ADD },
          bindings: {
            dy: upload(strided),
            w: upload(w),
            dx,
            row_shift: uploadShifts(rowShiftsF64(taken, M, N)),
            w_shift: uploadShifts(columns),
          },
          params: [M, K, N, stride],
          workgroups: [Math.ceil(K / 64), Math.ceil(M / 64)],
        });
        const sums = expected.map((value) => ADD ? Math.fround(3 * value) + value : value);
        assertClose(rowsOf(await readFloats(dx), M, K), rowsOf(sums, M, K));
      }
    });
  }

  it("err by a rounding of each input to 11 bits, however large or small the rows are", () => {
    const [M, K, N] = [9, 40, 7];
    const x = scaledRows(1, M, K, (m) => 2 ** (25 * m - 100));
    const w = scaledRows(2, N, K, (n) => 2 ** (10 * n - 30));
    const y = linearF16F64(x, w, { M, K, N });
    const error = largestError(y, linearF64(x, w, { M, K, N }), x, w, K);
    assert.ok(error > 2 ** -16 && error <= 2 ** -10, `${error}`);
  });

  it("lose nothing by the shifts, and keep a row's bits whatever its neighbours are", () => {
    const [K, N] = [24, 5];
    const [x, w] = [randomFloats(1, 3 * K), randomFloats(2, N * K)];
    const y = linearF16F64(x, w, { M: 3, K, N });
    const larger = linearF16F64(x.map((value) => value * 2 ** 40), w.map((v) => v * 2 ** -60), {
      M: 3,
      K,
      N,
    });
    assert.deepEqual(larger.map((value) => value * 2 ** 20), y);
    const alone = linearF16F64(x.slice(K, 2 * K), w, { M: 1, K, N });
    assert.deepEqual(alone, y.slice(N, 2 * N));
  });
});
