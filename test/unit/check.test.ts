/** scripts/check.mjs: which test files a run takes, and the parts of the gate. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { runGate, runTests } from "../../scripts/check.mjs";
import { withScratchFolder } from "./scratch_folder.ts";
import { asRuntime, callsOf, complaintsOf, NO_SHELL, writeStub } from "./stub_program.ts";
import { leftOut } from "../left_out.ts";

const FILES = [
  "test/unit/a.test.ts",
  "test/deep/er/b.test.ts",
  "test/unit/helper.ts",
  "src/c.test.ts",
  "test/package/installed.test.ts",
  "test/gpu_variants/spirv.test.ts",
  "test/cluster/mpi.test.ts",
];
const TESTS = ["test/deep/er/b.test.ts", "test/unit/a.test.ts"];

/** Deno runs one file after the other, so two of it run at a time. */
const RUNNERS = "Deno" in globalThis ? 2 : 1;

interface Checkout {
  root: string;
  /** Has calls whose arguments hold the word fail. */
  failAt(word: string): void;
  calls(): string[];
  asRuntime<R>(body: () => Promise<R>): Promise<R>;
}

/** A checkout whose runtime and Deno are one program that only writes down what it is called for. */
function withCheckout(body: (checkout: Checkout) => Promise<void>): Promise<void> {
  return withScratchFolder(async (root) => {
    const program = join(root, "node_modules/.bin/deno");
    for (const file of FILES) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), "");
    }
    writeStub(program);
    await body({
      root,
      failAt: (word) => writeStub(program, `case "$*" in *${word}*) exit 5;; esac`),
      calls: () => callsOf(program),
      asRuntime: (body) => asRuntime(program, body),
    });
  });
}

describe("runTests()", { skip: leftOut("runTests()", NO_SHELL) }, () => {
  it("takes every test file below test/, two at a time, and no other file", () =>
    withCheckout(async ({ root, calls, asRuntime }) => {
      assert.equal(await asRuntime(() => runTests(root, [])), 0);
      assert.equal(calls().length, RUNNERS);
      const files = calls().flatMap((call) => call.split(" ").filter((word) => word.endsWith(".ts")));
      assert.deepEqual(files.sort(), TESTS);
      for (const call of calls()) {
        assert.match(call, RUNNERS === 2 ? /^test -A / : / --test --test-concurrency=2 /);
      }
    }));

  it("takes the files that are named alone, and hands options on to the runner before them", () =>
    withCheckout(async ({ root, calls, asRuntime }) => {
      await asRuntime(() => runTests(root, ["test/unit/a.test.ts", "--an-option=x"]));
      assert.match(calls()[0], / --an-option=x test\/unit\/a\.test\.ts$/);
      assert.doesNotMatch(calls()[0], /b\.test\.ts/);
    }));

  it("exits as the runner does", () =>
    withCheckout(async ({ root, failAt, asRuntime }) => {
      failAt("test");
      assert.equal(await asRuntime(() => runTests(root, [])), 5);
    }));
});

describe("runGate()", { skip: leftOut("runGate()", NO_SHELL) }, () => {
  const PARTS = [
    /typescript\/bin\/tsc -p \S+$/,
    /tsc -p \S+\/page$/,
    /^lint --quiet$/,
    /^fmt --check --quiet$/,
    /a\.test\.ts$/,
  ];

  it("checks types, lint and format, and runs every test", () =>
    withCheckout(async ({ root, calls, asRuntime }) => {
      const said = await complaintsOf(async () => assert.equal(await asRuntime(() => runGate(root)), 0));
      assert.equal(calls().length, PARTS.length - 1 + RUNNERS);
      PARTS.slice(0, -1).forEach((part, index) => assert.match(calls()[index], part));
      assert.ok(calls().slice(PARTS.length - 1).some((call) => PARTS.at(-1)!.test(call)));
      assert.match(
        said,
        /^ok {3}types .*\nok {3}types of the page .*\nok {3}lint .*\nok {3}format .*\nok {3}tests /,
      );
    }));

  for (const [index, word] of ["tsc", "/page", "lint", "fmt", "a.test.ts"].entries()) {
    it(`stops where ${word} fails, says so and exits as that does`, () =>
      withCheckout(async ({ root, failAt, calls, asRuntime }) => {
        failAt(word);
        const said = await complaintsOf(async () => assert.equal(await asRuntime(() => runGate(root)), 5));
        assert.equal(calls().length, word === "a.test.ts" ? index + RUNNERS : index + 1);
        assert.match(said.split("\n")[index], /^FAIL /);
      }));
  }
});
