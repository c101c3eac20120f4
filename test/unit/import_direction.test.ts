/** Imports go down only, floor by floor; what one file alone may know, no other file mentions. */
import assert from "node:assert/strict";
import { posix } from "node:path";
import { test } from "node:test";
import { filesUnder, textOf, withoutComments } from "./source_files.ts";

const FLOORS: Readonly<Record<string, number>> = {
  "index.ts": 7,
  cli: 6,
  library: 6,
  assembly: 5,
  train: 4,
  evaluate: 4,
  policy: 3,
  scorer: 3,
  tracking: 3,
  io: 3,
  parallel: 3,
  ops: 2,
  gpu: 1,
  config: 1,
  rl: 0,
};
/** No tensors, files, network, clock or randomness. */
const PURE = ["config", "rl"];
const TFJS_INTERNALS =
  /\b(tensorMap|commandQueueOwnedIds|ensureCommandEncoderReady|computePassEncoder|dispatchCountInPass|uniformPendingDisposal|bufferManager|currentCommandEncoder|activeTape)\b/;
const RUNTIME_TESTS =
  /"Deno" in|\bglobalThis\.Deno\b|\btypeof Deno\b|\bDeno\.\w|\{ Deno\b|process\.versions\b/;
/** Who asks for the runtime: the GPU's door, and the HTTP client that Deno has in a way of its own. */
const KNOWS_RUNTIME = ["src/gpu/device.ts", "src/scorer/loopback.ts"];
/** What a pure folder may not use: the GPU library, files, network, clock, unseeded randomness, environment. */
const IMPURE =
  /@tensorflow|"node:(?!assert)|\bfetch\(|\bDate\.now\b|\bnew Date\(\)|\bperformance\.|\bMath\.random\b|\bprocess\.(?:env|argv|cwd|exit|std)/;
/** The one pure-folder file that reads: it loads the YAML. */
const READS_FILES = ["src/config/load.ts"];

interface Import {
  specifier: string;
  isTypeOnly: boolean;
}

function importsOf(source: string): Import[] {
  const code = withoutComments(source);
  const statements = [...code.matchAll(/^\s*(?:import|export)\s+(type\s)?[^;"]*?from\s+"([^"]+)"/gm)]
    .map((match) => ({ specifier: match[2], isTypeOnly: match[1] !== undefined }));
  const bare = [...code.matchAll(/^\s*import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm)]
    .map((match) => ({ specifier: match[1] ?? match[2], isTypeOnly: false }));
  return [...statements, ...bare];
}

/** Why `file` may not import `specifier`; undefined when it may. */
function complaint(file: string, { specifier }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = posix.join(posix.dirname(file), specifier);
  const from = file.split("/")[1];
  const [top, to] = target.split("/");
  if (top !== "src") return `${file} imports ${target}: src/ stands alone`;
  if (!(to in FLOORS)) return `${file} imports ${target}: not in a folder of a floor`;
  if (from === to || FLOORS[to] < FLOORS[from]) return undefined;
  return `${file} (floor ${FLOORS[from]}) imports ${target} (floor ${FLOORS[to]}): imports go down only`;
}

const sources = filesUnder("src", ".ts");

test("every source file lies in a folder that has a floor", () => {
  assert.ok(sources.length > 0);
  assert.deepEqual(sources.filter((file) => !(file.split("/")[1] in FLOORS)), []);
});

test("imports go down only, and folders of one floor do not import each other", () => {
  const complaints = sources.flatMap((file) =>
    importsOf(textOf(file)).map((imported) => complaint(file, imported))
  );
  assert.deepEqual(complaints.filter((text) => text !== undefined), []);
});

test("an upward, a sideways and an outward import are each found", () => {
  const found = (file: string, source: string) =>
    importsOf(source).map((imported) => complaint(file, imported));
  assert.match(String(found("src/gpu/a.ts", `import { b } from "../ops/b.ts";`)), /floor 1.*floor 2/);
  assert.match(String(found("src/io/a.ts", `import type { B } from "../policy/b.ts";`)), /floor 3.*floor 3/);
  assert.match(String(found("src/io/a.ts", `const b = await import("../../bench/b.ts");`)), /stands alone/);
  assert.match(String(found("src/ops/a.ts", `import {\n  b,\n} from "../cli/b.ts";`)), /floor 2.*floor 6/);
  assert.deepEqual(found("src/train/a.ts", `export { b } from "../rl/b.ts";\nimport fs from "node:fs";`), [
    undefined,
    undefined,
  ]);
});

/** The files that import each other in a circle, each circle once, from where the search met it. */
function importCircles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = [];
  const left = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file]);
    if (at >= 0 || left.has(file)) return;
    path.push(file);
    imports.get(file)?.forEach(visit);
    path.pop();
    left.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}

/** What a file imports of the project's own, types included. */
function ownImports(file: string, source: string): string[] {
  return importsOf(source).filter(({ specifier }) => specifier.startsWith("."))
    .map(({ specifier }) => posix.join(posix.dirname(file), specifier));
}

test("no file is in an import circle, imports of types included", () => {
  const files = ["src", "bench", "scripts", "test"].flatMap((folder) =>
    [".ts", ".mjs"].flatMap((ending) => filesUnder(folder, ending))
  );
  const imports = new Map(files.map((file) => [file, ownImports(file, textOf(file))]));
  assert.ok([...imports.values()].flat().length > files.length, "the imports are found");
  assert.deepEqual(importCircles(imports).map((circle) => circle.join(" -> ")), []);
});

test("a circle of two, of three by a type alone, and a file that imports itself are each found", () => {
  const found = (sources: Record<string, string>) =>
    importCircles(new Map(Object.entries(sources).map(([file, source]) => [file, ownImports(file, source)])));
  const a = `import { b } from "./b.ts";`;
  assert.deepEqual(found({ "src/io/a.ts": a, "src/io/b.ts": `import { a } from "./a.ts";` }), [
    ["src/io/a.ts", "src/io/b.ts", "src/io/a.ts"],
  ]);
  const three = {
    "src/io/a.ts": a,
    "src/io/b.ts": `export { c } from "../rl/c.ts";`,
    "src/rl/c.ts": `import type {\n  A,\n} from "../io/a.ts";`,
  };
  assert.deepEqual(found(three), [["src/io/a.ts", "src/io/b.ts", "src/rl/c.ts", "src/io/a.ts"]]);
  assert.deepEqual(found({ "src/io/a.ts": `import { a } from "./a.ts";` }).length, 1);
  const tree = {
    "src/io/a.ts": `${a}\nimport { c } from "./c.ts";`,
    "src/io/b.ts": `import { c } from "./c.ts";`,
  };
  assert.deepEqual(found({ ...tree, "src/io/c.ts": `import fs from "node:fs";` }), []);
});

function mentioning(pattern: RegExp, files: string[]): string[] {
  return files.filter((file) => pattern.test(withoutComments(textOf(file))));
}

test("only gpu/ touches the internals of tfjs", () => {
  assert.deepEqual(mentioning(TFJS_INTERNALS, sources).filter((file) => !file.startsWith("src/gpu/")), []);
});

test("only gpu/device.ts and scorer/loopback.ts ask whether they run in Node or in Deno", () => {
  assert.deepEqual(mentioning(RUNTIME_TESTS, sources).sort(), KNOWS_RUNTIME);
});

test("config and rl are pure: no tensors, files, network, clock or unseeded randomness", () => {
  const pure = sources.filter((file) => PURE.includes(file.split("/")[1]) && !READS_FILES.includes(file));
  assert.deepEqual(mentioning(IMPURE, pure), []);
});
