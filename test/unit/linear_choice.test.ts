/** Which kernel computes a product of a linear layer follows from what the device offers and from the sizes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  chooseLinear,
  linearClass,
  type LinearProduct,
  type LinearRequest,
  type LinearSize,
  productSize,
} from "../../src/ops/linear/choice.ts";
import { type LinearFacts } from "../../src/ops/linear/facts.ts";
import {
  guessedVariant,
  likelyVariants,
  linearCandidates,
  REGISTERS,
  tileFits,
  TILES,
} from "../../src/ops/linear/tiles.ts";

/** What every WebGPU device has, and what a desktop GPU has. */
const LEAST = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 };
const DESKTOP = { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49152 };

const size = (rows: number, columns: number, summed = 4096): LinearSize => ({
  product: "output",
  format: "f32",
  rows,
  columns,
  summed,
});
const sizes = fc.tuple(fc.integer({ min: 1, max: 70_000 }), fc.integer({ min: 1, max: 200_000 }));

test("tiles are made of whole lanes, whole quads and whole slabs", () => {
  for (const [name, { TILE_M, TILE_N, TILE_K, LANE_M, LANE_N }] of Object.entries(TILES)) {
    assert.equal(name, `${TILE_M}x${TILE_N}x${TILE_K} by ${LANE_M}x${LANE_N}`);
    assert.deepEqual([TILE_M % LANE_M, TILE_N % LANE_N, TILE_K % 4], [0, 0, 0], name);
    assert.ok([4, 8].includes(LANE_M) && [4, 8].includes(LANE_N), name);
  }
});

test("a software device computes in registers alone, whatever its limits and the sizes", () => {
  const candidates = linearCandidates(DESKTOP, true);
  assert.deepEqual(candidates, [REGISTERS]);
  assert.equal(guessedVariant(size(4096, 4096), candidates), REGISTERS);
});

test("a GPU runs the tiles that its limits allow, and the registers", () => {
  assert.deepEqual(linearCandidates(DESKTOP, false), [REGISTERS, ...Object.keys(TILES)]);
  const least = linearCandidates(LEAST, false);
  assert.ok(!least.includes("128x128x16 by 8x8"), "needs 16896 bytes of workgroup memory");
  assert.ok(least.includes("128x128x8 by 8x8"));
  const few = { ...LEAST, maxComputeInvocationsPerWorkgroup: 64 };
  assert.deepEqual(linearCandidates(few, false), [REGISTERS, "32x32x32 by 4x4", "16x32x32 by 4x4"]);
});

test("without any tile the guess is the registers", () => {
  assert.equal(guessedVariant(size(4096, 4096), [REGISTERS]), REGISTERS);
});

test("large products are guessed to run in large tiles, products of few rows in small ones", () => {
  const candidates = linearCandidates(DESKTOP, false);
  assert.equal(guessedVariant(size(4096, 4096), candidates), "128x64x16 by 8x8");
  assert.equal(guessedVariant(size(512, 4096), candidates), "128x64x16 by 8x8");
  assert.equal(guessedVariant(size(256, 2048), candidates), "64x64x16 by 8x4");
  assert.equal(guessedVariant(size(24, 4096), candidates), "32x32x32 by 4x4");
  assert.equal(guessedVariant(size(24, 512), candidates), "16x32x32 by 4x4");
  assert.equal(guessedVariant(size(8, 100_000), candidates), "16x32x32 by 4x4");
});

test("measured are the guess and its neighbours, or all where there are few", () => {
  const candidates = linearCandidates(DESKTOP, false);
  assert.deepEqual(likelyVariants(size(4096, 4096), candidates), [
    "128x128x8 by 8x8",
    "128x64x16 by 8x8",
    "64x64x16 by 8x4",
  ]);
  assert.deepEqual(likelyVariants(size(24, 512), candidates), ["32x32x32 by 4x4", "16x32x32 by 4x4"]);
  assert.deepEqual(likelyVariants(size(24, 512), [REGISTERS]), [REGISTERS]);
});

test("a guess is a candidate, for every size", () => {
  fc.assert(fc.property(sizes, fc.constantFrom(LEAST, DESKTOP), ([rows, columns], limits) => {
    const candidates = linearCandidates(limits, false);
    const variant = guessedVariant(size(rows, columns), candidates);
    assert.ok(candidates.includes(variant));
    assert.ok(variant === REGISTERS || tileFits(TILES[variant], limits));
  }));
});

test("a class is of one weight, with rows above one power of two up to the next, and all that fill a GPU", () => {
  assert.equal(linearClass(size(1, 2047, 11008)), "linear f32 1 x 2047 x 11008");
  assert.equal(linearClass(size(1025, 2048)), linearClass(size(2048, 2048)));
  assert.notEqual(linearClass(size(1024, 2048)), linearClass(size(1025, 2048)));
  assert.notEqual(linearClass(size(1024, 4096)), linearClass(size(1024, 4097)));
  assert.equal(linearClass(size(4000, 32_000)), linearClass(size(70_000, 16_384)));
  const gradW = (rows: number, summed: number) =>
    linearClass({ ...size(rows, 64, summed), product: "grad_w" });
  assert.equal(gradW(11008, 700), gradW(11008, 1024));
  assert.notEqual(gradW(11008, 700), gradW(11000, 700));
});

test("a class tells the products apart, and is that of the outputs for swiglu", () => {
  const classOf = (product: LinearProduct) => linearClass({ ...size(8, 16, 32), product, format: "bf16" });
  assert.equal(classOf("output"), "linear bf16 8 x 16 x 32");
  assert.equal(classOf("grad_x"), "linear_grad_x bf16 8 x 16 x 32");
  assert.equal(classOf("grad_w"), "linear_grad_w f32 8 x 16 x 32");
  assert.equal(classOf("swiglu"), classOf("output"));
});

/** A GPU of 32 lanes that nothing was measured on, with all tiles. */
const GPU: LinearFacts = {
  hasSimd8: false,
  hasNarrowSubgroups: false,
  maxSubgroupSize: 32,
  matrixUnit: 16,
  workgroupBytes: 49152,
  plainKernelsOnly: false,
  candidates: linearCandidates(DESKTOP, false),
  measured: new Map(),
  forced: null,
};
/** A CPU that plays a GPU: with subgroups, under Dawn, and without, in Deno. */
const CPU = { ...GPU, hasSimd8: true, hasNarrowSubgroups: true, maxSubgroupSize: 8, candidates: [REGISTERS] };
const DENO = { ...CPU, hasSimd8: false };

/** The choice for a layer of M rows, N outputs and K inputs. */
function choose(
  product: LinearProduct,
  [M, N, K]: number[],
  facts: LinearFacts,
  options: Partial<LinearRequest> = {},
) {
  return chooseLinear(
    { ...productSize(product, { M, K, N }), format: "f32", ...options },
    facts,
  );
}

const PRODUCTS = ["output", "grad_x", "grad_w", "swiglu"] as const;
const kernelsOf = (sizes: number[], facts: LinearFacts, options: Partial<LinearRequest> = {}) =>
  PRODUCTS.map((product) => choose(product, sizes, facts, options).kernel);

test("each kind of device has its kernels: tiles, subgroups of 8 lanes, registers", () => {
  assert.deepEqual(kernelsOf([512, 256, 128], GPU), [
    "linear_tile",
    "linear_grad_x_tile",
    "linear_grad_w_tile",
    "linear_tile",
  ]);
  assert.deepEqual(kernelsOf([512, 256, 128], CPU), [
    "linear_simd8",
    "linear_grad_x_simd8",
    "linear_grad_w_simd8",
    "swiglu_linear_simd8",
  ]);
  const plain = ["linear", "linear_grad_x", "linear_grad_w", "swiglu_linear"];
  assert.deepEqual(kernelsOf([512, 256, 128], DENO), plain);
  assert.deepEqual(kernelsOf([512, 256, 128], { ...GPU, plainKernelsOnly: true }), plain);
});

test("rows that do not begin on 16 bytes are computed one by one", () => {
  const strided = Array(4).fill("linear_strided");
  assert.deepEqual(kernelsOf([8, 16, 18], CPU), strided);
  assert.deepEqual(kernelsOf([8, 16, 20], GPU, { format: "bf16" }), strided);
  assert.deepEqual(kernelsOf([8, 18, 16], CPU), [
    "linear_simd8",
    "linear_strided",
    "linear_strided",
    "swiglu_linear_simd8",
  ]);
  const padded = choose("grad_x", [8, 18, 16], CPU, { stride: 20 });
  assert.equal(padded.kernel, "linear_grad_x");
  assert.match(padded.why, /18 outputs are no multiple of 4/);
  const { workgroups, why } = choose("output", [1000, 1000, 3], CPU);
  assert.deepEqual(workgroups, [15625, 1, 1]);
  assert.match(why, /rows of 3 f32 values do not begin on 16 bytes/);
});

test("few rows take linear_few: two on a CPU with subgroups, four without tiles; on a GPU the smallest tile", () => {
  const few = (rows: number, facts: LinearFacts) =>
    choose("output", [rows, 100, 64], facts, { rowCount: "few" });
  const plain = { ...GPU, plainKernelsOnly: true };
  for (const [facts, most] of [[CPU, 2], [DENO, 4], [plain, 4]] as const) {
    assert.deepEqual([most, most + 1].map((rows) => few(rows, facts).way === "few"), [true, false]);
    assert.notEqual(choose("output", [1, 100, 64], facts).way, "few");
  }
  assert.deepEqual([1, 4].map((rows) => few(rows, GPU).tile), Array(2).fill({ rows: 16, columns: 32 }));
  assert.deepEqual([1, 2, 3, 4].map((rows) => few(rows, plain).constants.ROWS), [1, 2, 4, 4]);
  assert.deepEqual([few(1, CPU), few(1, plain)].map(({ workgroups }) => workgroups), [[4, 1, 1], [1, 1, 1]]);
});

test("float16 takes matrix units for every product, in tiles that keep most processors busy", () => {
  const precision = "float16" as const;
  assert.deepEqual(kernelsOf([512, 256, 128], GPU, { precision }), Array(4).fill("linear_matrix"));
  const conditions = (product: LinearProduct) =>
    choose(product, [512, 4096, 4096], GPU, { precision }).conditions;
  assert.deepEqual(conditions("output"), { UNIT8: false, WIDE: true, GRAD_X: false, GRAD_W: false });
  assert.deepEqual(conditions("grad_x"), { UNIT8: false, WIDE: true, GRAD_X: true, GRAD_W: false });
  assert.deepEqual(conditions("grad_w"), { UNIT8: false, WIDE: true, GRAD_X: false, GRAD_W: true });
  const { constants, workgroups } = choose("output", [65, 130, 128], GPU, { precision });
  assert.deepEqual([constants, workgroups], [{ SUBGROUP: 32 }, [3, 2, 1]]);
  const tileOf = (rows: number, facts: LinearFacts) =>
    choose("output", [rows, 4096, 4096], facts, { precision }).tile;
  assert.deepEqual([256, 320, 512].map((rows) => tileOf(rows, GPU).rows), [64, 128, 128]);
  assert.deepEqual([tileOf(512, { ...GPU, workgroupBytes: 40959 }).rows], [64]);
  assert.deepEqual([256, 512].map((rows) => tileOf(rows, { ...CPU, matrixUnit: 8 }).rows), [64, 64]);
  assert.equal(choose("output", [8, 64, 64], { ...CPU, matrixUnit: 8 }, { precision }).tile.rows, 32);
});

test("decoding in float16 takes narrow tiles, of as many rows as there are and as the device has memory for", () => {
  const few = (rows: number, columns: number, facts: LinearFacts = GPU) =>
    choose("output", [rows, columns, 4096], facts, { precision: "float16", rowCount: "few" });
  assert.deepEqual([1, 16, 17, 33, 64, 128].map((rows) => few(rows, 4096).tile.rows), [
    16,
    16,
    32,
    64,
    64,
    64,
  ]);
  assert.equal(few(128, 4096).kernel, "linear_few_matrix");
  assert.equal(few(129, 4096).kernel, "linear_matrix");
  assert.deepEqual([4096, 8192].map((columns) => few(60, columns).tile.columns), [32, 64]);
  assert.deepEqual(few(60, 8192, { ...GPU, workgroupBytes: 32000 }).tile, { rows: 32, columns: 32 });
  assert.equal(few(60, 8192, { ...GPU, workgroupBytes: 16384 }).kernel, "linear_matrix");
});

test("swiglu is one kernel where its outputs tile in registers and its weights have one format", () => {
  const made = (facts: LinearFacts, options = {}) => choose("swiglu", [8, 64, 64], facts, options).product;
  assert.equal(made(CPU), "swiglu");
  assert.equal(made(CPU, { upFormat: "bf16" }), "output");
  assert.equal(made(GPU), "output");
  const measured = new Map([["linear f32 8 x 64 x 64", REGISTERS]]);
  assert.equal(made({ ...GPU, measured }), "swiglu");
});

test("what was measured comes before the guess, and what is forced before both", () => {
  const sizes = [512, 512, 512];
  const measured = new Map([["linear f32 512 x 512 x 512", "64x64x16 by 4x4"]]);
  const tuned = choose("output", sizes, { ...GPU, measured });
  assert.deepEqual(tuned.constants, TILES["64x64x16 by 4x4"]);
  assert.match(tuned.why, /64x64x16 by 4x4 .*measured to be the fastest for "linear f32 512 x 512 x 512"/);
  assert.match(choose("grad_x", sizes, { ...GPU, measured }).why, /guessed from the sizes/);
  const forced = choose("output", sizes, { ...GPU, measured, forced: REGISTERS });
  assert.equal(forced.kernel, "linear");
});

test("every grid covers its product", () => {
  const rows = fc.integer({ min: 1, max: 300 });
  fc.assert(fc.property(
    fc.tuple(rows, rows, rows),
    fc.constantFrom(GPU, CPU, DENO),
    fc.constantFrom(...PRODUCTS),
    fc.constantFrom<Partial<LinearRequest>>({}, { rowCount: "few" }, { precision: "float16" }, {
      format: "f16",
    }),
    (sizes, facts, product, options) => {
      const { tile, workgroups: [x, y, z], way } = choose(product, sizes, facts, options);
      const { rows, columns } = productSize(product, { M: sizes[0], N: sizes[1], K: sizes[2] });
      assert.equal(z, 1);
      if (way === "strided") assert.ok(x * y * tile.columns >= rows * columns);
      else assert.ok(x * tile.columns >= columns && y * tile.rows >= rows);
    },
  ));
});
