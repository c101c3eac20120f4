/** Where numbers meet a device's limits: grids, windows of bindings, lanes. No GPU is needed to say so. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { foldGrid } from "../../src/gpu/grids.ts";
import { type MatrixFacts, matrixUnitsMissing } from "../../src/gpu/precision.ts";
import { bindFrom } from "../../src/gpu/windows.ts";

const LIMIT = 65535;

it("foldGrid() has a workgroup for each that was asked for, few more, and no side past the limit", () => {
  const counts = fc.oneof(
    fc.integer({ min: 1, max: 2 ** 31 }),
    fc.constantFrom(1, LIMIT, LIMIT + 1, LIMIT + 2, 2 * LIMIT, 2 * LIMIT + 1, 7 * LIMIT - 1),
  );
  fc.assert(fc.property(counts, (count) => {
    const [x, y, z] = foldGrid(count);
    assert.ok(x <= LIMIT && y <= LIMIT && z === 1, `${[x, y, z]}`);
    assert.ok(x * y >= count && x * y < count + y, `${[x, y]} for ${count}`);
    assert.ok(count > LIMIT || y === 1);
  }));
});

it("bindFrom() cuts off the front of a window, which begins amid its tensor", () => {
  const tensor = { dataId: {}, shape: [4, 256], dtype: "float32" as const };
  const window = { tensor, offsetBytes: 1024, sizeBytes: 2048 };
  assert.deepEqual(bindFrom(window, 512), { tensor, offsetBytes: 1536, sizeBytes: 1536 });
  assert.deepEqual(bindFrom({ tensor }, 512), { tensor, offsetBytes: 512, sizeBytes: undefined });
  assert.equal(bindFrom(window, 0), window);
});

it("matrixUnitsMissing() asks for lanes of four subgroups, not of more", () => {
  const facts = (lanes: number): MatrixFacts => ({
    features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
    limits: { maxComputeInvocationsPerWorkgroup: lanes, maxComputeWorkgroupStorageSize: 32768 },
    adapterInfo: {
      subgroupMinSize: 64,
      subgroupMaxSize: 64,
      subgroupMatrixConfigs: [{ componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 }],
    },
  });
  assert.equal(matrixUnitsMissing(facts(256)), undefined);
  assert.match(matrixUnitsMissing(facts(255)) ?? "", /255 lanes, fewer than four subgroups of 64/);
});
