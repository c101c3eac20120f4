/** What failing commands end with, by which scripts decide whether to try again. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exitCodeOf } from "../../src/cli/exit_codes.ts";
import { forgetGpuFailure, GpuError, gpuErrorOf } from "../../src/gpu/failure.ts";
import { NonfinitePolicyError } from "../../src/policy/nonfinite.ts";
import { DivergedError } from "../../src/train/nonfinite_steps.ts";
import { ROOT } from "./source_files.ts";

test("a GPU that failed and numbers that are none end with codes of their own, which the page lists", () => {
  const page = readFileSync(join(ROOT, "docs/troubleshooting.md"), "utf8");
  const CODES: [unknown, number][] = [
    [new GpuError("lost", null, "lost"), 74],
    [new DivergedError("diverged"), 65],
    [new NonfinitePolicyError("NaN"), 65],
    [new Error("Rank 1 has left: ❌ ERROR: Scorer API at http://a is not responding"), 75],
    [new Error("else"), 1],
    ["no error", 1],
  ];
  for (const [error, code] of CODES) {
    assert.equal(exitCodeOf(error), code, `${error}`);
    assert.match(page, new RegExp(`^\\| ${code} +\\| [a-z]`, "m"));
  }
});

test("an error of a runtime's own is told by what it says of the GPU, and never by an empty line", () => {
  const told = (error: unknown) => {
    forgetGpuFailure();
    const { fault, message } = gpuErrorOf(error);
    return `${fault}: ${message}`;
  };
  assert.match(
    told(new DOMException("", "AbortError")),
    /^lost: The GPU device was lost: AbortError\. Its driver/,
  );
  assert.match(told(new DOMException("Buffer with '' label is invalid", "OperationError")), /^lost: /);
  assert.match(
    told(new Error("not enough memory left")),
    /^out of memory: The GPU is out of memory: not enough/,
  );
  assert.match(
    told(new Error("vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY")),
    /^out of memory: /,
  );
  assert.match(
    told(new Error("")),
    /^rejected: The GPU rejected work, .*: Error\. This is a fault of the program/,
  );
  forgetGpuFailure();
});
