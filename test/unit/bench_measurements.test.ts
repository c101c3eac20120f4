/** docs/measurements.md: written whole, of one commit, from what the sections' own commands print. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { SECTIONS } from "../../bench/measurement_sections.ts";
import { measureSections, type PageFacts, type RunShell } from "../../bench/measurements.ts";
import { measurementsPage } from "../../bench/measurements_page.ts";
import { benchOptions } from "../../bench/run.ts";
import { ROOT } from "./source_files.ts";

const FACTS: PageFacts = {
  commit: "abc1234",
  date: "2030-01-02T03:04:05.000Z",
  device: "a GPU",
  driver: "a driver",
  runtime: "node 20.1.0",
  machine: "2 cores",
  isSoftware: false,
  isTiny: false,
};

const prints: RunShell = (command) => ({
  code: 0,
  stdout: `GPU memory  at the most\ntime of ${command}\n`,
  stderr: "",
});

function pageOf(facts: Partial<PageFacts>, run: RunShell): { page: string; told: string[] } {
  const told: string[] = [];
  const all = { ...FACTS, ...facts };
  const results = measureSections(SECTIONS, all, { run, tell: (text) => void told.push(text) });
  return { page: measurementsPage(all, results), told };
}

/** The text of each section, by title. */
const sectionsOf = (page: string) =>
  new Map(page.split(/^## /m).slice(1).map((text) => [text.split("\n")[0], text] as const));

test("the page names its commit, date and device once, and has each section with its command and figures", () => {
  const { page, told } = pageOf({}, prints);
  for (const fact of [FACTS.commit, FACTS.date, FACTS.device, FACTS.driver, FACTS.runtime, FACTS.machine]) {
    assert.equal(page.split(`| ${fact} |`).length, 2, fact);
  }
  const sections = sectionsOf(page);
  assert.deepEqual([...sections.keys()], SECTIONS.map(({ title }) => title));
  for (const { title, command, shown } of SECTIONS) {
    const text = sections.get(title)!;
    assert.ok(text.includes(`\`${command}\` (0 s)`), title);
    assert.ok(shown ? /GPU memory|time of/.test(text) : text.includes(`time of ${command}\n`), title);
  }
  assert.ok(!page.includes("Not measured"));
  assert.deepEqual(told, SECTIONS.map(({ title }, i) => `${i + 1} of ${SECTIONS.length}: ${title}`));
});

test("a section that shows some lines leaves out the others", () => {
  const { page } = pageOf({}, prints);
  const text = sectionsOf(page).get("Memory planned and taken, adapters")!;
  assert.ok(text.includes("```\nGPU memory  at the most\n```"));
  assert.ok(!text.includes("time of"));
});

test("a section whose GPU, Python or command is missing says so, and is run no further", () => {
  const ran: string[] = [];
  const { page } = pageOf({ isSoftware: true }, (command) => {
    ran.push(command);
    if (command.startsWith("python3 -c")) return { code: 1, stdout: "", stderr: "ModuleNotFoundError" };
    if (command.includes("--curves")) {
      return { code: 1, stdout: "half a table", stderr: "trace\nThe GPU was lost\n\n" };
    }
    return prints(command);
  });
  const sections = sectionsOf(page);
  assert.match(sections.get("All ops")!, /Not measured: it needs a GPU/);
  assert.match(
    sections.get("Its files in transformers")!,
    /Not measured: Python has no torch.*requirements\.txt/,
  );
  assert.match(sections.get("Cost curves")!, /Not measured: it failed with exit code 1: The GPU was lost\./);
  assert.ok(!page.includes("half a table"));
  assert.ok(page.includes("The device is software"));
  assert.ok(!ran.includes("npm run bench") && !ran.some((command) => command.includes("check_files.py")));
});

test("the short form runs tiny models, says that its figures mean nothing, and leaves out the rest", () => {
  const ran: string[] = [];
  const { page } = pageOf({ isTiny: true, isSoftware: true }, (command) => {
    ran.push(command);
    return prints(command);
  });
  assert.deepEqual(ran, SECTIONS.flatMap(({ tinyCommand }) => tinyCommand ?? []));
  assert.ok(ran.length >= 3 && ran.every((command) => command.includes("--tiny")));
  assert.match(page, /its figures say nothing/);
  assert.deepEqual([...sectionsOf(page).keys()], SECTIONS.map(({ title }) => title));
  assert.match(sectionsOf(page).get("Cost curves")!, /Not measured: it has no short form/);
});

test("every section's command is one that bench takes, or runs files that exist", () => {
  for (const command of SECTIONS.flatMap(({ command, tinyCommand }) => [command, tinyCommand ?? command])) {
    const [, options] = command.match(/^npm run bench(?: --)?(.*)$/) ?? [];
    if (options !== undefined) {
      benchOptions().exitOverride().parse(options.trim().split(" ").filter(Boolean), { from: "user" });
    }
    for (const [file] of command.matchAll(/\b(bench|scripts|test|configs)\/[\w/]+\.\w+/g)) {
      assert.ok(existsSync(join(ROOT, file)), `${command}: ${file}`);
    }
  }
});
