/** `doctor` as a program, on a machine whose Vulkan loader finds no driver. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { detectRuntime } from "../../src/gpu/device.ts";
import { leftOut } from "../left_out.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RUN = detectRuntime() === "deno" ? ["run", "-A", "--unstable-webgpu"] : ["--import", "tsx"];

function runDoctor(
  args: string[],
  variables: Record<string, string>,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, DENO_WEBGPU_BACKEND: "vulkan", ...variables };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...RUN, "src/cli/main.ts", "doctor", ...args],
      { cwd: ROOT, env },
      (error, stdout, stderr) => {
        resolve({ code: Number(error?.code ?? 0), stdout, stderr });
      },
    );
  });
}

test("without an adapter doctor says so and what to do, checks the rest, and exits with 1", {
  skip: process.platform !== "linux" &&
    leftOut("without an adapter doctor says so", "the Vulkan loader's variables are Linux's"),
}, async () => {
  const { code, stdout, stderr } = await runDoctor([], { VK_DRIVER_FILES: "/nonexistent" });
  assert.equal(code, 1, stderr);
  assert.match(stdout, /missing +adapter +Cannot open a GPU/);
  assert.match(stdout, /to do: unset VK_DRIVER_FILES/);
  assert.match(stdout, /ok +train_jsonl .*prompts/);
  assert.match(stdout, /Not ready/);
  assert.doesNotMatch(stderr, /Uncaught|UnhandledPromise|\.ts:\d+/);
});

test("a broken setting and an unreachable scorer are findings with remedies, not crashes", async () => {
  const broken = await runDoctor(["--set", "num_generations=1"], {});
  assert.equal(broken.code, 1, broken.stderr);
  assert.match(broken.stdout, /missing +settings .*num_generations/);
  const unreachable = await runDoctor(["--set", "scorer_url=http://127.0.0.1:59998"], {});
  assert.equal(unreachable.code, 1, unreachable.stderr);
  assert.match(unreachable.stdout, /missing +scorer_url .*127\.0\.0\.1:59998/);
});
