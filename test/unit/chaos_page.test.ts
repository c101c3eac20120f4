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
    { file: "test/chaos_runs/b_c.test.ts", seconds: 3.4, rows: [{ claim: "one", measured: "1 of 1" }] },
    { file: "test/chaos_runs/c.test.ts", seconds: 9, rows: [] },
  ];
  const page = reliabilityPage(FACTS, files, false);
  assert.match(
    page,
    /^## b c\n\n`test\/chaos_runs\/b_c\.test\.ts`: 3 s, counts the few of .*, commit abc, today; node;/m,
  );
  assert.match(page, /^\| claim \| measured \|\n.*\n\| one \| 1 of 1 \|$/m);
  assert.doesNotMatch(page, /^## c$/m);
  assert.match(reliabilityPage(FACTS, files, true), /3 s, counts `--full`, commit/);
});

it("a file that is measured anew replaces its own section, and leaves those of others", () => {
  const file = (name: string, measured: string) => ({
    file: `test/chaos_runs/${name}.test.ts`,
    seconds: 1,
    rows: [{ claim: "it holds", measured }],
  });
  const both = reliabilityPage(FACTS, [file("kills", "1 of 1"), file("fuzz", "2 of 2")], false);
  const again = reliabilityPage({ ...FACTS, commit: "def" }, [file("kills", "50 of 50")], true, both);
  assert.deepEqual(again.match(/^## .*$/gm), ["## fuzz", "## kills"]);
  assert.deepEqual(again.match(/\d+ of \d+/g), ["2 of 2", "50 of 50"]);
  assert.deepEqual(again.match(/commit \w+/g), ["commit abc", "commit def"]);
  assert.equal(reliabilityPage(FACTS, [], true, both), both);
});
