/** Which kernel computes a matrix product follows from what the device offers and from the sizes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  guessedVariant,
  matmulCandidates,
  matmulClass,
  type MatmulSize,
  REGISTERS,
  tileFits,
  TILES,
} from "../../src/ops/linear/choice.ts";

/** What every WebGPU device has, and what a desktop GPU has. */
const LEAST = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 };
const DESKTOP = { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupStorageSize: 49152 };

const size = (rows: number, columns: number, summed = 4096): MatmulSize => ({
  kernel: "linear",
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
  const candidates = matmulCandidates(DESKTOP, true);
  assert.deepEqual(candidates, [REGISTERS]);
  assert.equal(guessedVariant(size(4096, 4096), candidates), REGISTERS);
});

test("a GPU runs the tiles that its limits allow, and the registers", () => {
  assert.deepEqual(matmulCandidates(DESKTOP, false), [REGISTERS, ...Object.keys(TILES)]);
  const least = matmulCandidates(LEAST, false);
  assert.ok(!least.includes("128x128x16 by 8x8"), "needs 16896 bytes of workgroup memory");
  assert.ok(least.includes("128x128x8 by 8x8"));
  const few = { ...LEAST, maxComputeInvocationsPerWorkgroup: 64 };
  assert.deepEqual(matmulCandidates(few, false), [REGISTERS, "32x32x32 by 4x4", "16x32x32 by 4x4"]);
});

test("without any tile the guess is the registers", () => {
  assert.equal(guessedVariant(size(4096, 4096), [REGISTERS]), REGISTERS);
});

test("large products are guessed to run in large tiles, products of few rows in small ones", () => {
  const candidates = matmulCandidates(DESKTOP, false);
  assert.equal(guessedVariant(size(4096, 4096), candidates), "128x128x8 by 8x8");
  assert.equal(guessedVariant(size(256, 2048), candidates), "64x64x16 by 8x4");
  assert.equal(guessedVariant(size(24, 4096), candidates), "32x32x32 by 4x4");
  assert.equal(guessedVariant(size(24, 512), candidates), "16x32x32 by 4x4");
  assert.equal(guessedVariant(size(8, 100_000), candidates), "16x32x32 by 4x4");
});

test("a guess is a candidate, for every size", () => {
  fc.assert(fc.property(sizes, fc.constantFrom(LEAST, DESKTOP), ([rows, columns], limits) => {
    const candidates = matmulCandidates(limits, false);
    const variant = guessedVariant(size(rows, columns), candidates);
    assert.ok(candidates.includes(variant));
    assert.ok(variant === REGISTERS || tileFits(TILES[variant], limits));
  }));
});

test("a class holds the sizes above one power of two up to the next, and all that fill a GPU", () => {
  assert.equal(matmulClass(size(1, 2047, 11008)), "linear f32 1 x 2048 x 4096");
  assert.equal(matmulClass(size(1025, 2048)), matmulClass(size(2048, 1025)));
  assert.notEqual(matmulClass(size(1024, 2048)), matmulClass(size(1025, 2048)));
  assert.equal(matmulClass(size(4000, 4096)), matmulClass(size(70_000, 4097)));
});
