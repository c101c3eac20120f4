/** The GPU report: what is read of its parts, its table, and that no part takes the report with it. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { conductReport } from "../../bench/gpu_report/conductor.ts";
import { type Part, partNamed, PARTS, TOTAL_SECONDS } from "../../bench/gpu_report/parts.ts";
import { readLine, readTorchLine, type ReportLine } from "../../bench/gpu_report/report_line.ts";
import { type PartReport, reportText } from "../../bench/gpu_report/report_table.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { asRuntime, callsOf, NO_SHELL, writeStub } from "./stub_program.ts";

const NAME =
  "a part that hangs and one that fails keep their lines, and the others run, torch by the Python named";

test("a part's line is read as it was said; a driver's own words, half a line and other JSON are not", () => {
  const lines: ReportLine[] = [
    { kind: "measured", name: "add", seconds: 0.5, bytes: 12, predictedSeconds: 0.25 },
    { kind: "ceiling", name: "copy", unit: "copy", perSecond: 2000 },
    { kind: "fact", name: "device", value: "a card" },
    { kind: "left out", name: "matrix units", reason: "none" },
  ];
  for (const line of lines) assert.deepEqual(readLine(JSON.stringify(line)), line);
  const others = [
    "",
    "Warning: no XCB",
    `{"kind":"measured","na`,
    `{"kind":"other","name":"x"}`,
    `{"kind":"fact"}`,
  ];
  for (const text of others) assert.equal(readLine(text), null, text);
});

test("a line of PyTorch's is a time, a fact or what was left out; its f32 products are of the unit of f32", () => {
  const read = (line: object) => readTorchLine(JSON.stringify(line));
  assert.deepEqual(read({ name: "f32 product", seconds: 0.5, flops: 8 }), {
    kind: "measured",
    name: "f32 product",
    seconds: 0.5,
    flops: 8,
    unit: "fma",
  });
  const half = read({ name: "bf16 product", seconds: 1, flops: 8, bytes: 3 });
  assert.deepEqual(half, {
    kind: "measured",
    name: "bf16 product",
    seconds: 1,
    flops: 8,
    unit: "matrix",
    bytes: 3,
  });
  assert.deepEqual(read({ name: "copy", seconds: 1, bytes: 3 }), {
    kind: "measured",
    name: "copy",
    seconds: 1,
    bytes: 3,
  });
  assert.deepEqual(read({ name: "device", card: "a card", torch: "2.0" }), {
    kind: "fact",
    name: "device",
    value: "a card, 2.0",
  });
  assert.deepEqual(read({ name: "step", reason: "out of memory" }), {
    kind: "left out",
    name: "step",
    reason: "out of memory",
  });
  for (const text of ["UserWarning", `{"seconds":1}`, `{"name":"half a li`, "{not JSON}"]) {
    assert.equal(readTorchLine(text), null, text);
  }
});

const saidBy = (part: string, ...lines: ReportLine[]): PartReport => ({
  part,
  seconds: 2,
  stopped: null,
  lines,
});

/** The cells of the table's row of that name. */
function rowOf(text: string, name: string): string[] {
  const line = text.split("\n").find((line) => line.startsWith(name));
  assert.ok(line !== undefined, text);
  return line.slice(name.length).trim().split(/ {2,}/);
}

test("a time is held against the slower bound: its arithmetic at its unit's ceiling, or its bytes", () => {
  const text = reportText([
    saidBy(
      "ceilings",
      { kind: "ceiling", name: "copy", unit: "copy", perSecond: 1000 },
      { kind: "ceiling", name: "multiply-adds", unit: "fma", perSecond: 50_000 },
      { kind: "ceiling", name: "tiles, one way", unit: "matrix", perSecond: 400_000 },
      { kind: "ceiling", name: "tiles, another way", unit: "matrix", perSecond: 500_000 },
    ),
    saidBy(
      "products",
      {
        kind: "measured",
        name: "f32",
        seconds: 0.004,
        flops: 1e11,
        unit: "fma",
        bytes: 1e9,
        predictedSeconds: 0.003,
      },
      { kind: "measured", name: "f16", seconds: 0.004, flops: 1e12, unit: "matrix", bytes: 1e9 },
      { kind: "measured", name: "thin", seconds: 0.004, flops: 1e9, unit: "fma", bytes: 1e9 },
      { kind: "measured", name: "launch", seconds: 0.004 },
    ),
  ]);
  assert.deepEqual(rowOf(text, "f32"), ["4.00", "25.0 TFLOP/s", "50.0 TFLOP/s", "50%", "3.00"]);
  assert.deepEqual(rowOf(text, "f16"), ["4.00", "250 TFLOP/s", "500 TFLOP/s", "50%", "-"]);
  assert.deepEqual(rowOf(text, "thin"), ["4.00", "250 GB/s", "1000 GB/s", "25%", "-"]);
  assert.deepEqual(rowOf(text, "launch"), ["4.00", "-", "-", "-", "-"]);
});

test("facts stand first, and what did not run and the parts' times last, with what ended a part early", () => {
  const text = reportText([
    saidBy("device", { kind: "fact", name: "driver", value: "1.2" }),
    {
      ...saidBy("rows", { kind: "left out", name: "rope", reason: "no memory" }),
      stopped: "stopped after its 2 s",
    },
  ]);
  const sections = text.split("\n\n");
  assert.deepEqual(sections, [
    "driver: 1.2",
    "nothing was measured",
    "not run:\nrope: no memory",
    "parts:\ndevice: 2.0 s\nrows: 2.0 s, stopped after its 2 s",
  ]);
});

test("all parts together end within the report's time, whatever each takes", () => {
  const sum = PARTS.reduce((sum, { limitSeconds }) => sum + limitSeconds, 0);
  assert.ok(sum < TOTAL_SECONDS, `${sum} s`);
  assert.equal(new Set(PARTS.map(({ name }) => name)).size, PARTS.length);
  assert.throws(
    () => partNamed("norms"),
    /RangeError: Unknown part "norms".*parts: device, torch, .*rows, job$/,
  );
});

test(
  NAME,
  { skip: leftOut(NAME, NO_SHELL) },
  () =>
    withScratchFolder(async (folder) => {
      const fact = (value: string) => `echo '{"kind":"fact","name":"it","value":"${value}"}'`;
      const runtime = join(folder, "runtime");
      // The sleep is a process of the part's own, which holds its output open when the part has been killed.
      writeStub(
        runtime,
        `case "$*" in
        *" device --small") echo a driver speaks; ${fact("first")};;
        *" rows --small") ${fact("before it hung")}; sleep 30;;
        *" products --small") ${fact("before it failed")}; echo lost the device >&2; exit 3;;
        *) ${fact("last")};;
      esac`,
      );
      const python = join(folder, "python");
      writeStub(python, `echo '{"name":"product","seconds":0.5}'`);
      const parts = ["device", "rows", "products", "torch", "job"].map((name): Part => ({
        ...partNamed(name),
        limitSeconds: name === "rows" ? 2 : 60,
      }));
      const jsonFile = join(folder, "report.json");
      const progress: string[] = [];
      const began = performance.now();
      const reports = await asRuntime(
        runtime,
        () =>
          conductReport(parts, {
            isSmall: true,
            jsonFile,
            python,
            onProgress: (text) => void progress.push(text),
          }),
      );
      assert.ok(performance.now() - began < 25_000, "nobody waits for what hangs");
      const values = (lines: readonly ReportLine[]) =>
        lines.map((line) => "value" in line ? line.value : line.kind);
      assert.deepEqual(reports.map(({ part, lines, stopped }) => [part, values(lines), stopped]), [
        ["device", ["first"], null],
        ["rows", ["before it hung"], "stopped after its 2 s"],
        ["products", ["before it failed"], "ended with 3: lost the device"],
        ["torch", ["measured"], null],
        ["job", ["last"], null],
      ]);
      assert.match(callsOf(python)[0], /torch_peer\.py --seconds 45 --small$/);
      assert.match(progress[0], /^device: .* \(at most 60 s\)$/);
      const written = JSON.parse(await readFile(jsonFile, "utf8"));
      assert.deepEqual(written.parts, reports, "the file holds what was returned");
    }),
);

test("a Python that is not there leaves PyTorch out, and says so", () =>
  withScratchFolder(async (folder) => {
    const [{ lines, stopped }] = await conductReport([partNamed("torch")], {
      isSmall: true,
      jsonFile: join(folder, "report.json"),
      python: join(folder, "no_python"),
      onProgress: () => {},
    });
    assert.deepEqual(lines, []);
    assert.match(stopped!, /^ended with .*no_python/);
  }));
