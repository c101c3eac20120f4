/** `npm run test:gpu-variants`: what its passes take, and what it reads of the output of others. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PASSES } from "../gpu_variants/passes.ts";
import { dumpedKernels, MARK, REFUSED } from "../gpu_variants/spirv_text.ts";
import { failuresIn, passedIn } from "../gpu_variants/tap.ts";
import { ROOT } from "./source_files.ts";

test("every pass of the GPU variants has files, and all of them exist", () => {
  for (const { title, files, preloads = [] } of PASSES) {
    assert.ok(files.length > 0, title);
    assert.deepEqual([...files, ...preloads].filter((file) => !existsSync(join(ROOT, file))), [], title);
  }
});

const TAP = `TAP version 13
# Subtest: a suite
    # Subtest: holds
    ok 1 - holds
      ---
      duration_ms: 1.5
      ...
    # Subtest: fails
    not ok 2 - fails
      ---
      duration_ms: 1.5
      location: '/a/b.test.ts:1:3035'
      failureType: 'testCodeFailure'
      error: 'token 0 is NaN'
      ...
    1..2
not ok 1 - a suite
  ---
  type: 'suite'
  failureType: 'subtestsFailed'
  error: '1 subtest failed'
  ...
1..1
# tests 2
# pass 1
# fail 1
`;

test("of a test file's output the tests that passed are counted and those that failed are told, suites apart", () => {
  assert.equal(passedIn(TAP), 1);
  const told = failuresIn(TAP);
  assert.match(told, /not ok 2 - fails[^]*token 0 is NaN/);
  assert.doesNotMatch(told, /a suite|3035/);
});

test("of a test file that died before its first test the end of its output is told", () => {
  assert.equal(passedIn("Error: no adapter\n"), 0);
  assert.match(failuresIn("Error: no adapter\n"), /no adapter/);
});

const kernel = (name: string) => `${MARK}${JSON.stringify({ kernel: name })}\n`;
const SPIRV = "/* Dumped SPIRV disassembly */\n; SPIR-V\n; Version: 1.4\n   OpFunctionEnd\n";

test("SPIR-V is told apart by kernel, and what Dawn refused is no SPIR-V", () => {
  const [add, rope] = dumpedKernels(
    `${kernel("add")}// Dumped WGSL:\n${SPIRV}${kernel("rope")}${REFUSED}no such type\n`,
  );
  assert.deepEqual([add.kernel, add.version, add.refused], ["add", "1.4", undefined]);
  assert.match(add.assembly, /^\n; SPIR-V[^]*OpFunctionEnd\s*$/);
  assert.deepEqual([rope.kernel, rope.refused], ["rope", "no such type"]);
});

test("SPIR-V that ends early, or is not there, is an error that names the kernel", () => {
  const cut = SPIRV.replace("OpFunctionEnd", "OpLoad");
  assert.throws(() => dumpedKernels(`${kernel("add")}${cut}`), /no whole SPIR-V of .*"add".*dump_shaders/);
  assert.throws(() => dumpedKernels(`${kernel("add")}${kernel("rope")}${SPIRV}`), /"add"/);
});
