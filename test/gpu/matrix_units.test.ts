/**
 * Linear layers on matrix units. Where the device has none, their kernel is compiled, bound and dispatched on Dawn's null
 * device, which checks all of that and computes nothing; and it is run with lanes in the place of the units.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { TensorInfo } from "@tensorflow/tfjs";
import { type OpCase, randomFloats } from "../cases/case.ts";
import { linearCase } from "../cases/linear/linear.ts";
import { caseArrays, caseOperands } from "../cases/operands.ts";
import { type BufferPool, tfjsBackend } from "../../src/gpu/backend.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { flush } from "../../src/gpu/queue.ts";
import { readFloats, readTensor, uploadTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, detectRuntime, openGpu } from "../../src/gpu/device.ts";
import {
  f16MatrixUnit,
  matmulPrecision,
  type MatrixFacts,
  matrixUnitsMissing,
  setMatmulPrecision,
} from "../../src/gpu/precision.ts";
import { withBindingLimit, withFloat16Matmuls } from "../../src/gpu/trial_modes.ts";
import type { LayerSizes } from "../../src/ops/linear/choice.ts";
import { withLinearVariant } from "../../src/ops/linear/facts.ts";
import { makeHalves } from "../../src/ops/linear/halves.ts";
import { backpropagate } from "../../src/gpu/op.ts";
import { linear, linearF64 } from "../../src/ops/linear/linear.ts";
import { linearF16F64, linearGradWF16F64, linearGradXF16F64 } from "../../src/ops/linear/matrix_units.ts";
import { WIDE_UNITS } from "../../src/ops/linear/tiles.ts";
import { FORMAT_CODE, type Weight, type WeightFormat } from "../../src/ops/weight/weight.ts";
import { disposeWeightShift, refreshWeightShift, weightShift } from "../../src/ops/weight/weight_shift.ts";
import { runEmulatedMatrices } from "./emulated_matrices.ts";
import { linkKernel } from "../../src/gpu/wgsl.ts";
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
    limits: { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 32768 },
    adapterInfo: { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [SHAPE], ...adapterInfo },
  };
}

/**
 * A device that Dawn checks all calls to, and that does nothing. It says 4 to 128 lanes: we take it for one of 32. It has
 * the least workgroup memory of WebGPU, in which narrow tiles of matrices of 8 fit.
 */
async function openNullDevice(): Promise<GPUDevice> {
  const { create } = await import("webgpu");
  const entry = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]) as unknown as GPU;
  const adapter = await entry.requestAdapter();
  assert.ok(adapter);
  const device = await adapter.requestDevice({
    requiredFeatures: [...FEATURES] as unknown as GPUFeatureName[],
  });
  const subgroupMatrixConfigs = [{ ...SHAPE, M: 8, N: 8, K: 8 }];
  return Object.defineProperties(device, {
    adapterInfo: { value: { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs } },
    entry: { value: entry }, // Dawn falls over once it is collected
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

const upload = (values: ArrayLike<number>) => uploadTensor(Float32Array.from(values), [values.length]);

function rowsOf(values: ArrayLike<number>, rows: number, width: number): number[][] {
  return Array.from({ length: rows }, (_, m) => Array.from(values).slice(m * width, (m + 1) * width));
}

/**
 * Products are exact, and their sums in f32: to 1e-6 of a row's largest. WGSL lets a device flush
 * what is below f32's smallest normal number (WGSL 15.7.2), and whether software Vulkan does hangs on the machine.
 */
function assertClose(actual: number[][], expected: number[][]): void {
  for (const [m, row] of expected.entries()) {
    const largest = Math.max(...row.map(Math.abs));
    row.forEach((value, n) => {
      assert.ok(
        Math.abs(actual[m][n] - value) <= 1e-6 * largest + 2 ** -126,
        `row ${m}, column ${n}: ${actual[m][n]}, not ${value}`,
      );
    });
  }
}

/** Rows of M, of columns padded to a stride, with NaNs between. */
function strided(values: ArrayLike<number>, M: number, width: number, stride: number): Float32Array {
  const made = new Float32Array(M * stride).fill(NaN);
  rowsOf(values, M, width).forEach((row, m) => made.set(row, m * stride));
  return made;
}

interface Tile {
  UNIT8: boolean;
  WIDE: boolean;
}

/** A layer's operands and sizes; rows of y and dy are `stride` apart. */
interface Layer extends LayerSizes {
  x: Float64Array;
  w: Float64Array;
  dy: Float64Array;
  bias: Float64Array;
  residual: Float64Array;
  stride: number;
  format: WeightFormat;
}

/** Rows of x and dy of very different sizes, and a weight whose rows differ. */
function layerOf([M, K, N, stride]: number[], format: WeightFormat = "f32", scale = 1): Layer {
  const opCase = linearCase(M, K, N, { format });
  const values = caseArrays(opCase).w;
  const w = Float64Array.from(
    values,
    (value, i) => format === "f32" ? Math.fround(scale * value * 2 ** (Math.floor(i / K) % 20 - 10)) : value,
  );
  return {
    M,
    K,
    N,
    stride,
    format,
    w,
    x: scaledRows(1, M, K, (m) => scale * 2 ** (m % 60 - 30)),
    dy: scaledRows(5, M, N, (m) => scale * 2 ** (m % 40 - 30)),
    bias: randomFloats(3, N),
    residual: randomFloats(4, M * stride),
  };
}

/** Runs one product, lanes in the place of the units, from halves and shifts that the GPU made. */
async function emulate(
  { M, K, N, stride, x, w, dy, bias, residual, format }: Layer,
  { UNIT8, WIDE }: Tile,
  product: "output" | "grad_x" | "grad_w",
  { ADD = false, out }: { ADD?: boolean; out: ArrayLike<number> },
): Promise<Float32Array> {
  const opCase = linearCase(M, K, N, { format });
  const { weights } = caseOperands({ ...opCase, inputs: { w: { ...opCase.inputs.w, values: w } } });
  const xHalves = makeHalves({ matrix: { tensor: upload(x) }, rows: M, width: K });
  const dyHalves = makeHalves({
    matrix: { tensor: upload(strided(dy, M, N, stride)) },
    rows: M,
    width: N,
    stride,
  });
  tfjsBackend().uploadToGPU(weights.w.tensor.dataId);
  const target = upload(out);
  const ofWeight = { w: weights.w.tensor, w_shift: weightShift(weights.w) };
  const [rows, columns] = { output: [M, N], grad_x: [M, K], grad_w: [N, K] }[product];
  const tile = (WIDE ? 8 : 4) * (UNIT8 ? 8 : 16);
  const ofX = { a: xHalves.values, a_shift: xHalves.shift };
  const ofDy = { a: dyHalves.values, a_shift: dyHalves.shift };
  const bindings = {
    output: { ...ofX, ...ofWeight, y: target, bias: upload(bias), residual: upload(residual) },
    grad_x: { ...ofDy, ...ofWeight, grad: target },
    grad_w: { ...ofDy, b: xHalves.values, b_shift: xHalves.shift, grad: target },
  }[product];
  const isOutput = product === "output";
  runEmulatedMatrices({
    kernel: "linear_matrix",
    conditions: {
      UNIT8,
      WIDE,
      ADD,
      GRAD_X: product === "grad_x",
      GRAD_W: product === "grad_w",
      BIAS: isOutput,
      RESIDUAL: isOutput,
    },
    constants: { FORMAT: FORMAT_CODE[product === "grad_w" ? "f16" : format] },
    bindings,
    params: [M, K, N, isOutput ? stride : dyHalves.pitch],
    workgroups: [Math.ceil(columns / tile), Math.ceil(rows / tile)],
  });
  return await readFloats(target);
}

/** What `output` makes, and what lies behind each row. */
async function assertOutput(layer: Layer, tile: Tile): Promise<void> {
  const { M, N, stride, residual } = layer;
  const y = await emulate(layer, tile, "output", { out: new Float32Array(M * stride).fill(7) });
  const sums = linearF16F64(layer.x, layer.w, layer).map((sum, i) =>
    sum + residual[Math.floor(i / N) * stride + i % N]
  );
  const rows = rowsOf(y, M, stride);
  assertClose(rows.map((row) => row.slice(0, N)), rowsOf(sums, M, N));
  assert.ok(rows.every((row) => row.slice(N).every((value) => value === 7)));
}

/** A layer's output and gradients as this device makes them with the precision float16. */
async function layerOnUnits(
  { M, K, N, x, w, dy, bias, residual, format }: Layer,
) {
  const opCase = linearCase(M, K, N, { format, bias: "f32" });
  const inputs: OpCase["inputs"] = { ...opCase.inputs, w: { ...opCase.inputs.w, values: w } };
  inputs.bias = { ...inputs.bias, values: bias };
  const { weights } = caseOperands({ ...opCase, inputs });
  const weight = weights.w;
  const [xs, dys, residuals] = [[x, K], [dy, N], [residual, N]].map(([values, width]) =>
    uploadTensor(Float32Array.from(values as Float64Array), [M, width as number])
  );
  const { value, grads } = withFloat16Matmuls(() =>
    backpropagate(() => linear(xs, weight, { bias: weights.bias, residual: residuals }), [xs, residuals], dys)
  );
  const made = {
    y: await readFloats(value),
    dx: await readFloats(grads[0]),
    dw: weight.grad && await readFloats(weight.grad),
  };
  disposeWeightShift(weight);
  return made;
}

describe("linear layers on matrix units", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("need the features, the shape, one size of subgroups, lanes for four of them and memory", () => {
    assert.equal(matrixUnitsMissing(facts()), undefined);
    const none = { ...facts(), features: new Set(["shader-f16"]) };
    assert.match(matrixUnitsMissing(none) ?? "", /lacks subgroups, chromium-experimental-subgroup-matrix/);
    const others = [{ ...SHAPE, resultComponentType: "f16" }, { ...SHAPE, K: 8 }];
    assert.match(matrixUnitsMissing(facts({ subgroupMatrixConfigs: others })) ?? "", /no f16 matrices/);
    assert.match(matrixUnitsMissing(facts({ subgroupMatrixConfigs: undefined })) ?? "", /no f16 matrices/);
    assert.match(matrixUnitsMissing(facts({ subgroupMaxSize: 64 })) ?? "", /32 to 64 lanes/);
    assert.match(
      matrixUnitsMissing(facts({ subgroupMinSize: 128, subgroupMaxSize: 128 })) ?? "",
      /128 lanes, more/,
    );
    const few = { maxComputeInvocationsPerWorkgroup: 127, maxComputeWorkgroupStorageSize: 32768 };
    assert.match(matrixUnitsMissing({ ...facts(), limits: few }) ?? "", /127 lanes, fewer than four/);
    const small = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 };
    assert.match(matrixUnitsMissing({ ...facts(), limits: small }) ?? "", /16384 bytes .* fewer than 20480/);
    const narrow = facts({ subgroupMatrixConfigs: [{ ...SHAPE, M: 8, N: 8, K: 8 }] });
    assert.equal(matrixUnitsMissing({ ...narrow, limits: small }), undefined);
  });

  it("multiply the largest matrices that the device has", () => {
    const eight = { ...SHAPE, M: 8, N: 8, K: 8 };
    assert.equal(f16MatrixUnit({ subgroupMatrixConfigs: [eight, SHAPE] }), 16);
    assert.equal(f16MatrixUnit({ subgroupMatrixConfigs: [eight] }), 8);
    assert.equal(f16MatrixUnit({ subgroupMatrixConfigs: [{ ...eight, N: 16 }] }), undefined);
  });

  it("are off unless asked for, and refused where the device cannot", () => {
    assert.equal(matmulPrecision(), "float32");
    if (matrixUnitsMissing() !== undefined) {
      assert.throws(
        () => setMatmulPrecision("float16"),
        /Cannot multiply matrices in float16.*leave.*float32/,
      );
      assert.equal(matmulPrecision(), "float32");
    }
    setMatmulPrecision("float32");
  });

  const skip = detectRuntime() === "deno" &&
    leftOut("matrix units pass Dawn's checks", "Deno offers neither matrix units nor Dawn's null device");
  it("pass Dawn's checks in every format, with bias and without", { skip }, async () => {
    const device = await openNullDevice();
    const cases = [
      linearCase(130, 36, 72),
      linearCase(19, 8, 4, { bias: "f32", rows: "few" }),
      linearCase(9, 48, 40, { format: "bf16", bias: "bf16" }),
      linearCase(300, 64, 132, { format: "f16", bias: "f16", residual: true }),
      linearCase(600, 600, 600),
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

  it("pass Dawn's checks of texts, matrices of 16 and of 8", { skip }, async () => {
    const device = await openNullDevice();
    for (const UNIT8 of [false, true]) {
      for (const WIDE of [false, true]) {
        for (const names of [[], ["GRAD_X"], ["GRAD_X", "ADD"], ["GRAD_W"]]) {
          const product = Object.fromEntries(names.map((name) => [name, true]));
          device.pushErrorScope("validation");
          device.createShaderModule({ code: linkKernel("linear_matrix", { UNIT8, WIDE, ...product }).text });
          const error = await device.popErrorScope();
          assert.equal(error?.message, undefined, `${names} ${UNIT8 ? 8 : 16} ${WIDE ? "wide" : "narrow"}`);
        }
      }
    }
    device.destroy();
  });

  const narrow = { UNIT8: false, WIDE: false };
  const wide = { UNIT8: true, WIDE: true }; // of 16 they need more memory than software Vulkan gives a workgroup
  for (const [tile, name] of [[narrow, "narrow tiles"], [wide, "wide tiles"]] as const) {
    for (const sizes of [[130, 36, 70, 72], [1, 8, 3, 4], [65, 104, 129, 140]]) {
      const [M, K, N] = sizes;
      it(`${name}, lanes in the place of the units: the output of ${M}x${K}x${N} equals its twin`, async () => {
        await assertOutput(layerOf(sizes), tile);
      });

      if (tile.WIDE) continue; // their text for dx is that for the output and for dw, and takes long to compile
      it(`${name}, lanes in the place of the units: dx of ${M}x${K}x${N} equals its twin`, async () => {
        const layer = layerOf(sizes);
        const expected = linearGradXF16F64(layer.dy, layer.w, layer);
        const dx = await emulate(layer, tile, "grad_x", { out: new Float32Array(M * K) });
        assertClose(rowsOf(dx, M, K), rowsOf(expected, M, K));
      });
    }

    it(`${name}, lanes in the place of the units: dw is added, in blocks of 512 tokens`, async () => {
      for (const sizes of [[1, 8, 3, 4], [520, 36, 70, 72]]) {
        const layer = layerOf(sizes);
        const { N, K } = layer;
        const made = linearGradWF16F64(layer.dy, layer.x, layer);
        const out = Float32Array.from(made, (value) => 3 * value);
        const dw = await emulate(layer, tile, "grad_w", { out });
        assertClose(rowsOf(dw, N, K), rowsOf(made.map((value, i) => out[i] + value), N, K));
      }
    });
  }

  it("dx is added to what is there, where lanes take the place of the units", async () => {
    const layer = layerOf([65, 104, 129, 140]);
    const { M, K } = layer;
    const expected = linearGradXF16F64(layer.dy, layer.w, layer);
    const out = Float32Array.from(expected, (value) => 3 * value);
    const dx = await emulate(layer, narrow, "grad_x", { ADD: true, out });
    assertClose(rowsOf(dx, M, K), rowsOf(expected.map((value, i) => out[i] + value), M, K));
  });

  it("packed weights are unpacked, where lanes take the place of the units", async () => {
    for (const format of ["bf16", "f16"] as const) {
      await assertOutput(layerOf([9, 48, 70, 72], format), narrow);
    }
  });

  it("products far below 1 are shifted back in two steps, each of which f32 holds", async () => {
    const layer = layerOf([65, 104, 129, 140], "f32", 2 ** -50);
    await assertOutput(
      { ...layer, bias: new Float64Array(129), residual: new Float64Array(65 * 140) },
      narrow,
    );
  });

  it("read the shift of a weight as it is now, also in a plan, when it is said to have changed", async () => {
    const weight = (values: number[]): Weight => ({
      name: "w",
      shape: [1, 4],
      format: "f32",
      tensor: uploadTensor(Float32Array.from(values), [1, 4]),
      grad: null,
    });
    const read = async ({ dataId, shape, dtype }: TensorInfo) => {
      tfjsBackend().incRef(dataId);
      return [...await readTensor(tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype }))];
    };
    const made = weight([1, -3, 0, 2]);
    const plan = recordPlan(() => void weightShift(made));
    assert.deepEqual([plan.dispatches.length, await read(weightShift(made))], [0, [13]]);
    writeTensor(made.tensor, Float32Array.of(100, 0, 0, 0));
    refreshWeightShift(made);
    assert.deepEqual(await read(weightShift(made)), [8]);
    plan.dispose();
    disposeWeightShift(made);
    assert.notEqual(weightShift(made), undefined);
  });

  it("err by a rounding of each input to 11 bits, however large or small the rows of x are", () => {
    const [M, K, N] = [9, 40, 7];
    const x = scaledRows(1, M, K, (m) => 2 ** (25 * m - 100));
    const w = scaledRows(2, N, K, (n) => 2 ** (n - 3));
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

  describe("of this device", () => {
    const missing = () => matrixUnitsMissing();
    /** Runs a test where the device has matrix units. */
    const onUnits = (name: string, body: () => Promise<void>) =>
      it(name, (test) => {
        const why = missing();
        return why === undefined ? body() : test.skip(leftOut(`matrix units: ${name}`, why));
      });

    const SIZES = [[1, 8, 4], [63, 36, 72], [127, 100, 60], [129, 264, 136], [300, 96, 648], [1030, 40, 520]];
    for (const sizes of SIZES) {
      for (const format of ["f32", "bf16", "f16"] as const) {
        const [M, K, N] = sizes;
        const name = `${M}x${K}x${N} ${format}`;
        if (format !== "f32" && ![1, 129].includes(M)) continue;
        onUnits(`${name}: output and gradients equal their twins`, async () => {
          const layer = layerOf([M, K, N, N], format);
          const { y, dx, dw } = await layerOnUnits(layer);
          const withResidual = linearF16F64(layer.x, layer.w, layer).map((sum, i) => sum + layer.residual[i]);
          assertClose(rowsOf(y, M, N), rowsOf(withResidual, M, N));
          assertClose(rowsOf(dx, M, K), rowsOf(linearGradXF16F64(layer.dy, layer.w, layer), M, K));
          if (dw) assertClose(rowsOf(dw, N, K), rowsOf(linearGradWF16F64(layer.dy, layer.x, layer), N, K));
        });
      }
    }

    onUnits("a row's bits depend neither on how many rows there are nor on its neighbours", async () => {
      const [K, N] = [264, 648];
      const all = layerOf([300, K, N, N], "bf16");
      const whole = await layerOnUnits(all);
      for (const rows of [[0], [7, 8, 9], Array.from({ length: 129 }, (_, i) => 299 - i)]) {
        const pick = (values: Float64Array, width: number) =>
          Float64Array.from(rows.flatMap((m) => [...values.subarray(m * width, (m + 1) * width)]));
        const some = await layerOnUnits({
          ...all,
          M: rows.length,
          x: pick(all.x, K),
          dy: pick(all.dy, N),
          residual: pick(all.residual, N),
        });
        const [ys, dxs] = [rowsOf(whole.y, 300, N), rowsOf(whole.dx, 300, K)];
        assert.deepEqual(rowsOf(some.y, rows.length, N), rows.map((m) => ys[m]));
        assert.deepEqual(rowsOf(some.dx, rows.length, K), rows.map((m) => dxs[m]));
      }
    });

    onUnits("a weight larger than a binding goes through in windows", async () => {
      const layer = layerOf([16, 64, 400, 400]);
      const whole = await layerOnUnits(layer);
      const parts = await withBindingLimit(128 * 64 * 4, () => layerOnUnits(layer));
      assert.deepEqual(parts.y, whole.y);
      assert.deepEqual(parts.dw, whole.dw);
      assertClose(rowsOf(parts.dx, 16, 64), rowsOf(whole.dx, 16, 64));
    });

    onUnits("wide and narrow tiles give the same bits", async () => {
      const layer = layerOf([70, 104, 72, 72]);
      const [small, large] = [
        await layerOnUnits(layer),
        await withLinearVariant(WIDE_UNITS, () => layerOnUnits(layer)),
      ];
      for (const name of ["y", "dx", "dw"] as const) assert.deepEqual(large[name], small[name]);
    });
  });
});
