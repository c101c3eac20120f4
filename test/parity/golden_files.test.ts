/** The files of test/golden and the generators in test/golden/make. No Python is run. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { filesUnder, textOf } from "../unit/source_files.ts";

const MAKE = "test/golden/make/";
/** What make_golden.py runs, in order, and the files and folders ("models/") that each writes below test/golden. */
const OUTPUTS: Record<string, string[]> = JSON.parse(textOf(`${MAKE}outputs.json`));
/** Programs that write no golden file: the one that runs the others, and one that opens what we wrote. */
const HELPERS = ["make_golden.py", "check_files.py"];
const PROGRAMS = filesUnder("test/golden/make", ".py").map((path) => path.slice(MAKE.length));
const GOLDEN = filesUnder("test/golden", "").filter((path) => /\.\w+$/.test(path) && !path.startsWith(MAKE))
  .map((path) => path.slice("test/golden/".length));

const owns = (output: string, file: string) =>
  output.endsWith("/") ? file.startsWith(output) : file === output;

test("every program in test/golden/make is run by make_golden.py or is a known helper", () => {
  assert.deepEqual(PROGRAMS, [...Object.keys(OUTPUTS).map((name) => `${name}.py`), ...HELPERS].sort());
});

test("every file of test/golden is written by one generator, and every generator's output is there", () => {
  const owned = Object.values(OUTPUTS).flat();
  assert.ok(GOLDEN.length > owned.length);
  const wrong = GOLDEN.filter((file) => owned.filter((output) => owns(output, file)).length !== 1);
  assert.deepEqual(wrong, []);
  assert.deepEqual(owned.filter((output) => !GOLDEN.some((file) => owns(output, file))), []);
  for (const [name, outputs] of Object.entries(OUTPUTS)) {
    const code = textOf(`${MAKE}${name}.py`);
    for (const output of outputs) {
      assert.ok(code.includes(`"${output.replace(/\/$/, "")}"`), `${name}.py does not write ${output}`);
    }
  }
});

/** Of the standard library, as far as the generators use it. */
const STANDARD = (
  "base64 collections dataclasses datetime hashlib inspect io itertools json math os pathlib platform statistics " +
  "random re shutil struct subprocess sys tempfile textwrap time types"
).split(" ");
const PINNED = new Map(
  textOf(`${MAKE}requirements.txt`).trim().split("\n").map((line) => line.split("==") as [string, string]),
);

test("every package that a generator imports is pinned", () => {
  for (const program of PROGRAMS) {
    const imported = [...textOf(MAKE + program).matchAll(/^(?:from|import) (\w+)/gm)].map(([, name]) => name);
    const missing = imported.filter((name) =>
      !PINNED.has(name) && !STANDARD.includes(name) && !PROGRAMS.includes(`${name}.py`)
    );
    assert.deepEqual(missing, [], `${program} imports what requirements.txt does not pin`);
  }
});

test("every golden file that names versions was made with the pinned ones", () => {
  const stale: string[] = [];
  let named = 0;
  for (const file of GOLDEN.filter((path) => path.endsWith(".json"))) {
    const { versions = {} } = JSON.parse(textOf(`test/golden/${file}`)) as {
      versions?: Record<string, string>;
    };
    for (const [name, version] of Object.entries(versions).filter(([name]) => name !== "python")) {
      named++;
      // "2.15.0+cu132": the build that PyPI has of torch 2.15.0.
      if (version.split("+")[0] !== PINNED.get(name)) stale.push(`${file}: ${name} ${version}`);
    }
  }
  assert.ok(named > Object.keys(OUTPUTS).length);
  assert.deepEqual(stale, []);
});
