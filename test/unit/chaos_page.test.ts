/** docs/reliability.md, as `npm run chaos -- --write` makes it of what the tests print. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { reliabilityPage, rowIn } from "../chaos_runs/page.ts";

const FACTS = {
  commit: "abc",
  date: "today",
  device: "a card",
  driver: "its driver",
  runtime: "node",
  machine: "2 cores",
  isSoftware: true,
  isTiny: false,
};

it("a test's row is taken from its output, and no other line is", () => {
  assert.deepEqual(rowIn("row | a claim | 4 of 4"), { claim: "a claim", measured: "4 of 4" });
  for (const line of ["ok | a claim | 4", "row | a claim", "a row | b | c", "row | a | b | c", ""]) {
    assert.equal(rowIn(line), null, line);
  }
});

it("the page holds every row under its file, and says where the counts are the few", () => {
  const files = [
    { file: "test/chaos_runs/a.test.ts", seconds: 3.4, rows: [{ claim: "one", measured: "1 of 1" }] },
    { file: "test/chaos_runs/b.test.ts", seconds: 9, rows: [] },
  ];
  const page = reliabilityPage(FACTS, files, false);
  assert.match(
    page,
    /^`test\/chaos_runs\/a\.test\.ts` \(3 s\)\n\n\| claim \| measured \|\n.*\n\| one \| 1 of 1 \|$/m,
  );
  assert.doesNotMatch(page, /b\.test\.ts/);
  assert.match(page, /\| commit \| abc \|/);
  assert.match(page, /without `--full`/);
  assert.doesNotMatch(reliabilityPage(FACTS, files, true), /without `--full`/);
});
