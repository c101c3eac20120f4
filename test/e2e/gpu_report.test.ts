/** `gpu-report` as a user starts it, on whatever device there is. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { PartReport } from "../../bench/gpu_report/report_table.ts";
import { detectRuntime } from "../../src/gpu/device.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { ROOT } from "./program.ts";

const IN_DENO = detectRuntime() === "deno";
/** Through the door of the project, and as the bundle for other machines starts it. */
const DOOR = [...IN_DENO ? ["run", "-A"] : [], "scripts/start.mjs", "gpu-report"];
const BUNDLED = [
  ...IN_DENO ? ["run", "-A", "--no-check", "--unstable-webgpu"] : ["--import", "tsx"],
  "bench/gpu_report/main.ts",
];

function runReport(
  start: string[],
  args: string[],
  variables: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, DENO_WEBGPU_BACKEND: "vulkan", ...variables };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...start, "--small", ...args],
      { cwd: ROOT, env },
      (error, stdout, stderr) => {
        resolve({ code: Number(error?.code ?? 0), stdout, stderr });
      },
    );
  });
}

const partsOf = async (folder: string): Promise<PartReport[]> =>
  JSON.parse(await readFile(join(folder, "report.json"), "utf8")).parts;

test("gpu-report prints a table of its parts and leaves it and every line in files", () =>
  withScratchFolder(async (folder) => {
    const { code, stdout, stderr } = await runReport(DOOR, ["--part", "device", "rows", "--out", folder]);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^device: \S.*\ndriver: .*\nruntime: (node|deno) /m);
    assert.match(stdout, /^case +ms +rate +ceiling +share +predicted ms$/m);
    assert.match(stdout, /^rms norm, 3 x 64 +\d/m);
    assert.match(stdout, /^parts:\ndevice: [\d.]+ s\nrows: [\d.]+ s$/m);
    assert.match(stdout, /report\.txt and report\.json\n$/);
    assert.ok(stdout.startsWith(await readFile(join(folder, "report.txt"), "utf8")), "the file is the table");
    const parts = await partsOf(folder);
    assert.deepEqual(parts.map(({ part, stopped }) => [part, stopped]), [["device", null], ["rows", null]]);
    assert.deepEqual(new Set(parts[0].lines.map(({ kind }) => kind)), new Set(["fact"]));
    const rows = parts[1].lines;
    assert.ok(rows.length >= 8);
    for (const line of rows) {
      assert.ok(line.kind === "measured" && line.seconds > 0 && line.seconds < 1, JSON.stringify(line));
    }
  }));

const NO_DRIVER = "gpu-report without an adapter says so of every part, and exits with 1";
const notLinux = process.platform !== "linux" && "the Vulkan loader's variables are Linux's";

test(NO_DRIVER, { skip: leftOut(NO_DRIVER, notLinux) }, () =>
  withScratchFolder(async (folder) => {
    const hidden = { VK_DRIVER_FILES: "/nonexistent" };
    const args = ["--part", "device", "rows", "--out", folder];
    const { code, stdout, stderr } = await runReport(BUNDLED, args, hidden);
    assert.equal(code, 1, stdout + stderr);
    assert.match(stdout, /^nothing was measured\n\nnot run:\nthe rest of device: Cannot open a GPU/m);
    assert.match(stdout, /^parts:\ndevice: [\d.]+ s, ended with 1.*\nrows: [\d.]+ s, ended with 1/m);
    assert.deepEqual((await partsOf(folder)).map(({ lines }) => lines.map(({ kind }) => kind)), [
      ["left out"],
      ["left out"],
    ]);
  }));

test("a part that there is none of ends the command with the list of parts", async () => {
  const { code, stderr } = await runReport(DOOR, ["--part", "norms"]);
  assert.equal(code, 1);
  assert.match(stderr, /Unknown part "norms" of the GPU report; parts: device, .*rows, job/);
  assert.doesNotMatch(stderr, /\.ts:\d+/);
});
