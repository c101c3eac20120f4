/** The cache of measured kernels: what is written is read, and whatever else lies there does no harm. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { kernelChoice, readTuning, tuningFile, writeTuning } from "../../src/assembly/kernel_tuning.ts";
import { linearSources } from "../../src/ops/linear/tuning.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const DEVICE = {
  vendor: "nvidia",
  architecture: "hopper",
  name: "H100",
  driver: "NVIDIA 550.54",
  runtime: "node",
  runtimeVersion: "22.1.0",
} as const;

test("what is written is read back", async () => {
  const matmuls = fc.dictionary(fc.string(), fc.string());
  await withScratchFolder(async (folder) => {
    await fc.assert(
      fc.asyncProperty(matmuls, async (tuning) => {
        const path = join(folder, "new", "tuning.json");
        assert.equal(await writeTuning(path, DEVICE, tuning), undefined);
        assert.deepEqual(await readTuning(path), Object.fromEntries(Object.entries(tuning)));
      }),
      { numRuns: 30 },
    );
  });
});

test("broken contents are read as far as they can be, and are no error", async () => {
  const contents = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((text) => `{"matmuls": ${text}}`),
    fc.json().map((text) => `{"matmuls": {"a": "b", "c": ${text}`),
  );
  await withScratchFolder(async (folder) => {
    const path = join(folder, "tuning.json");
    await fc.assert(
      fc.asyncProperty(contents, async (text) => {
        await writeFile(path, text);
        const read = await readTuning(path);
        assert.ok(Object.values(read).every((variant) => typeof variant === "string"));
      }),
      { numRuns: 100 },
    );
    await writeFile(path, `{"matmuls": {"a": "b", "c": 1, "d": null}}`);
    assert.deepEqual(await readTuning(path), { a: "b" });
  });
});

test("a missing file is empty, and a folder that cannot be made is said and no error", async () => {
  await withScratchFolder(async (folder) => {
    assert.deepEqual(await readTuning(join(folder, "none.json")), {});
    await writeFile(join(folder, "file"), "");
    const failure = await writeTuning(join(folder, "file", "tuning.json"), DEVICE, {});
    assert.match(failure ?? "", /file/);
  });
});

test("another device, driver, runtime or kernel has a file of its own", () => {
  const path = tuningFile(DEVICE, "kernels", {});
  assert.equal(tuningFile({ ...DEVICE }, "kernels", {}), path);
  const others = [
    ...Object.keys(DEVICE).map((fact) => tuningFile({ ...DEVICE, [fact]: "other" }, "kernels", {})),
    tuningFile(DEVICE, "other kernels", {}),
  ];
  assert.equal(new Set([path, ...others]).size, 1 + others.length);
});

test("the folder is the one of GRPO_WEBGPU_TUNING_CACHE, else below XDG_CACHE_HOME or ~/.cache", () => {
  const folderOf = (environment: Record<string, string>) =>
    join(tuningFile(DEVICE, "kernels", environment), "..");
  const own = { GRPO_WEBGPU_TUNING_CACHE: join("own", "place"), XDG_CACHE_HOME: "cache" };
  assert.equal(folderOf(own), join("own", "place"));
  assert.equal(folderOf({ XDG_CACHE_HOME: "cache" }), join("cache", "grpo-webgpu", "tuning"));
  assert.equal(folderOf({}), join(homedir(), ".cache", "grpo-webgpu", "tuning"));
});

test("doctor is told where the choice of kernels comes from", async () => {
  await withScratchFolder(async (folder) => {
    const gpu = { ...DEVICE, isSoftware: false };
    const environment = { GRPO_WEBGPU_TUNING_CACHE: folder };
    assert.match(await kernelChoice({ ...gpu, isSoftware: true }, environment), /in registers/);
    assert.match(await kernelChoice(gpu, { ...environment, GRPO_WEBGPU_TUNING: "off" }), /guessed/);
    assert.match(await kernelChoice(gpu, environment), /when training starts/);
    const path = tuningFile(DEVICE, linearSources(), environment);
    await writeTuning(path, DEVICE, { a: "registers", b: "registers" });
    assert.equal(await kernelChoice(gpu, environment), `measured for 2 classes of sizes, in ${path}`);
  });
});
