/** GPUs by name: how much memory a run is planned for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { planTarget } from "../../src/assembly/named_gpus.ts";

const GIB = 2 ** 30;

test("a GPU has less than what it is sold with, and Apple's what Metal recommends of the machine's", () => {
  for (
    const [name, sold] of [["h100", 80], ["h200", 141], ["a100-40", 40], ["l40s", 48], ["4090", 24], [
      "a10",
      24,
    ]]
  ) {
    const { bytes, source } = planTarget(String(name)).budget;
    assert.ok(bytes < Number(sold) * GIB && bytes > 0.85 * Number(sold) * GIB, `${name}: ${bytes}`);
    assert.match(source, new RegExp(`^${name}, less what its driver takes`));
  }
  assert.equal(planTarget("h100").budget.bytes, Math.floor(0.95 * 81559 * 2 ** 20) - 600 * 2 ** 20);
  assert.equal(planTarget("m3-64").budget.bytes, 48 * GIB);
  assert.equal(planTarget("M2-Max-96").budget.bytes, 72 * GIB);
});

test("a number is the GiB that are free, and other spellings of a name are that name", () => {
  assert.deepEqual(planTarget("22.5").budget, { bytes: 22.5 * GIB, source: "as given" });
  assert.deepEqual(planTarget("RTX 4090"), planTarget("4090"));
  assert.deepEqual(planTarget("NVIDIA-H100"), planTarget("h100"));
});

test("another name is refused with those that are known", () => {
  for (const name of ["h999", "0", "-3", "m3", "constructor", ""]) {
    assert.throws(() => planTarget(name), /required one of .*h100.*, or the GiB that are free/, name);
  }
});
