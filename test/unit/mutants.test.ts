/** The command that measures the tests: its list fits the code, and its sums are right. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CLAIMS } from "../mutants/claims.ts";
import type { Fault } from "../mutants/fault.ts";
import { allFaults, faultProblems, withFault } from "../mutants/fault_list.ts";
import { runFaults } from "../mutants/fault_runs.ts";
import { mutantsPage } from "../mutants/page.ts";
import { folderOf, folderScores, shortfalls } from "../mutants/score.ts";
import { type Mutant, mutantsOf, partEquivalent } from "../mutants/stryker.ts";

const fault = (file: string, change: Partial<Fault> = {}): Fault => ({
  file,
  find: "a",
  replace: "b",
  harm: "harm",
  tests: ["unit/lambda.test.ts"],
  ...change,
});
const results = (file: string, noticed: boolean, count: number) =>
  Array.from({ length: count }, () => ({ fault: fault(file), noticed, by: "" }));
const mutant = (change: Partial<Mutant> = {}): Mutant => ({
  file: "src/rl/lambda.ts",
  line: 3,
  code: "if (a < b) return;",
  original: "a < b",
  replacement: "a <= b",
  noticed: false,
  ...change,
});

test("every fault of the list stands in the code exactly once, and names tests that are there", async () => {
  assert.deepEqual(faultProblems(await allFaults()), []);
});

test("there are at least 200 faults, 60 of them in train, cli, evaluate and io, and some for every claim", async () => {
  const counted = (await allFaults()).filter(({ equivalent }) => equivalent === undefined);
  assert.ok(counted.length >= 200, `${counted.length} faults`);
  const host = counted.filter(({ file }) => /^src\/(train|cli|evaluate|io)\//.test(file));
  assert.ok(host.length >= 60, `${host.length} faults in train, cli, evaluate and io`);
  for (let claim = 1; claim <= CLAIMS.length; claim++) {
    assert.ok(counted.some((one) => one.claim === claim), `claim ${claim} is broken by no fault`);
  }
});

test("withFault() changes the one place, and refuses text that stands there twice or not at all", () => {
  assert.equal(withFault("x + y", fault("f", { find: "+", replace: "-" })), "x - y");
  assert.equal(withFault("x + y", fault("f", { find: "+", replace: "$&" })), "x $& y", "taken as it is");
  assert.throws(
    () => withFault("x + y + z", fault("f", { find: "+" })),
    /must stand there once, stands 2 times/,
  );
  assert.throws(() => withFault("x", fault("f", { find: "+" })), /stands 0 times/);
});

test("faultProblems() names a fault twice in the list, one that changes nothing, and a test that is not there", () => {
  const readme = fault("README.md", { find: "# grpo-webgpu", replace: "# x" });
  assert.match(faultProblems([readme, readme]).join(), /stands twice in the list/);
  assert.match(faultProblems([{ ...readme, replace: readme.find }]).join(), /changes nothing/);
  assert.match(
    faultProblems([{ ...readme, tests: ["unit/none.test.ts"] }]).join(),
    /there is no test\/unit\/none/,
  );
  assert.match(faultProblems([{ ...readme, tests: [] }]).join(), /names no test/);
});

test("a fault is noticed when a test fails with it, and not where tests pass or are of something else", {
  timeout: 300_000,
}, async () => {
  const wrongSign = fault("src/rl/lambda/log_space.ts", {
    find: "LAMBDA_FLOOR)) + ",
    replace: "LAMBDA_FLOOR)) - ",
    tests: ["unit/quadrants.test.ts", "unit/lambda.test.ts"],
  });
  const unseen = { ...wrongSign, harm: "unseen", tests: ["unit/quadrants.test.ts"] };
  const skipped = { ...wrongSign, equivalent: "not tried" };
  const told: string[] = [];
  const options = { workers: 1, tell: (text: string) => void told.push(text) };
  const [noticed, missed, ...more] = await runFaults([wrongSign, skipped, unseen], options);
  assert.deepEqual([noticed.noticed, missed.noticed, more.length], [true, false, 0]);
  assert.match(noticed.by, /^unit\/lambda\.test\.ts: /);
  assert.match(told[1], /^\[2\/2, 0 min left\] NOT NOTICED src\/rl\/lambda\/log_space\.ts: unseen\n$/);
  const selectsNothing = { ...wrongSign, tests: ["unit/lambda.test.ts#no such name"] };
  await assert.rejects(runFaults([selectsNothing], options), /it selects no test/);
  const broken = { ...wrongSign, replace: "LAMBDA_FLOOR)) + (" };
  await assert.rejects(runFaults([broken], options), /does not compile/);
});

test("folderScores() counts by folder, and shortfalls() holds all, those by hand and each folder to its share", () => {
  assert.deepEqual(["src/rl/a/b.ts", "kernels/elementwise/add.wgsl"].map(folderOf), ["src/rl", "kernels"]);
  const faults = [...results("src/rl/a.ts", true, 19), ...results("src/rl/a.ts", false, 1)];
  const scores = folderScores([...faults, ...results("kernels/elementwise/add.wgsl", true, 20)], [
    mutant({ noticed: true }),
  ]);
  assert.deepEqual(scores, [
    { folder: "kernels", byHand: { noticed: 20, counted: 20 }, byStryker: { noticed: 0, counted: 0 } },
    { folder: "src/rl", byHand: { noticed: 19, counted: 20 }, byStryker: { noticed: 1, counted: 1 } },
  ]);
  assert.deepEqual(shortfalls(scores), []);
  const worse = folderScores([...faults, ...results("kernels/elementwise/add.wgsl", false, 3)], []);
  assert.deepEqual(shortfalls(worse), [
    "all: 19 of 23 noticed, 82.6 %; required 95.0 %",
    "by hand: 19 of 23 noticed, 82.6 %; required 95.0 %",
    "kernels: 0 of 3 noticed, 0.0 %; required 90.0 %",
  ]);
  const hidden = folderScores(
    results("src/rl/a.ts", false, 1),
    Array.from({ length: 99 }, () => mutant({ noticed: true })),
  );
  assert.deepEqual(shortfalls(hidden), ["by hand: 0 of 1 noticed, 0.0 %; required 95.0 %"]);
});

test("mutantsOf() reads what was changed from Stryker's report, and what became of it", () => {
  const source = "let a;\n  if (a <\n b) return;\n";
  const location = { start: { line: 2, column: 7 }, end: { line: 3, column: 3 } };
  const statuses = ["Killed", "Timeout", "Survived", "NoCoverage", "Ignored"] as const;
  const mutants = statuses.map((status) => ({ replacement: "true", status, location }));
  const made = mutantsOf({ files: { "src/rl/a.ts": { source, mutants } } });
  assert.deepEqual(made.map(({ noticed }) => noticed), [true, true, false, false]);
  const { original, code, line } = made[0];
  assert.deepEqual({ original, code, line }, { original: "a <\n b", code: "if (a <", line: 2 });
});

test("partEquivalent() takes out what is listed, once it is there and not noticed", () => {
  const entry = {
    file: "src/rl/lambda.ts",
    line: "if (a",
    original: "a < b",
    replacement: "a <= b",
    reason: "r",
  };
  const other = mutant({ replacement: "true" });
  assert.deepEqual(partEquivalent([mutant(), other], [entry]).counted, [other]);
  assert.throws(() => partEquivalent([other], [entry]), /remove them:\nsrc\/rl\/lambda\.ts: a < b -> a <= b/);
  assert.throws(() => partEquivalent([mutant({ noticed: true })], [entry]), /remove them/);
});

test("the page names what was not noticed, and escapes what would break its tables", () => {
  const page = mutantsPage({
    faults: [
      { fault: fault("src/rl/a.ts", { harm: "goes on", claim: 1 }), noticed: false, by: "" },
      { fault: fault("src/rl/a.ts", { claim: 1 }), noticed: true, by: "unit/a.test.ts#b: c" },
    ],
    equivalentFaults: [fault("src/rl/b.ts", { find: "x || y", replace: "x", equivalent: "y is x" })],
    mutants: [mutant()],
    equivalentMutants: [],
  });
  assert.match(page, /^\| src\/rl\/ \| 1 of 2 \| 0 of 1 \| 33\.3 % \|$/m);
  assert.match(page, /^\| 1 \| A restarted run .* \| `test\/unit\/a\.test\.ts` \| 1 of 2 \|$/m);
  assert.match(page, /^- src\/rl\/a\.ts: goes on$/m);
  assert.match(page, /^- src\/rl\/lambda\.ts:3: `a < b` becomes `a <= b`$/m);
  assert.match(page, /^- src\/rl\/b\.ts: `x \|\| y` becomes `x`: y is x$/m);
});
