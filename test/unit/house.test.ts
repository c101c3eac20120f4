/** Rules of the house that a reader relies on, held for every file. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { filesUnder, ROOT, textOf, withoutComments } from "./source_files.ts";

const kernels = filesUnder("kernels", ".wgsl").filter((path) => !path.startsWith("kernels/lib/"));
const ops = filesUnder("src/ops", ".ts");

function kernelName(path: string): string {
  return path.replace(/^.*\/|\.wgsl$/g, "");
}

/** What the header of a kernel lacks; undefined when it names the kernel and a twin that exists. */
function headerComplaint(path: string): string | undefined {
  const lines = textOf(path).split("\n");
  const header = lines.slice(0, lines.findIndex((line) => !line.startsWith("//")));
  if (!header[0]?.startsWith(`// ${kernelName(path)}: `)) {
    return `${path} must open with "// ${kernelName(path)}: what it computes"`;
  }
  const [, file, twin] = header.join("\n").match(/^\/\/ Twin\s+(src\/\S+)#(\w+)/m) ?? [];
  if (!twin) return `${path} names no twin: its header needs a line "// Twin  src/file.ts#function"`;
  const exported = new RegExp(`^export (async )?(function|const) ${twin}\\b`, "m");
  if (!existsSync(join(ROOT, file)) || !exported.test(textOf(file))) {
    return `${path} names the twin ${twin}, which ${file} does not export`;
  }
  return undefined;
}

test("every kernel opens with its name, and names a twin that exists", () => {
  assert.ok(kernels.length > 0);
  assert.deepEqual(kernels.map(headerComplaint).filter((text) => text !== undefined), []);
});

/** Of kernels for 8-wide subgroups, and of those that tile in workgroup memory. */
const VARIANTS = ["_simd8", "_tile"];

/** Whether code runs a kernel by its name; a variant may be chosen by suffix. */
function runsKernel(code: string, name: string): boolean {
  const variant = VARIANTS.find((suffix) => name.endsWith(suffix));
  if (!variant || code.includes(`"${name}"`)) return code.includes(`"${name}"`);
  return code.includes(`"${name.slice(0, -variant.length)}"`) && code.includes(`${variant}\``);
}

const familyOf = (path: string): string => path.split("/")[1];
const foldersIn = (folder: string) =>
  readdirSync(join(ROOT, folder), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    .map(({ name }) => name).sort();

test("kernels, ops and cases have the same families", () => {
  const families = foldersIn("src/ops");
  assert.deepEqual(foldersIn("kernels").filter((name) => name !== "lib"), families);
  assert.deepEqual(foldersIn("test/cases"), families);
});

test("every kernel is run by exactly one file of src/ops, in the family of its own name", () => {
  const codes = ops.map((file) => ({ file, code: withoutComments(textOf(file)) }));
  const users = kernels.map((path) => ({
    path,
    files: codes.filter(({ file, code }) =>
      file.startsWith(`src/ops/${familyOf(path)}/`) && runsKernel(code, kernelName(path))
    ).map(({ file }) => file),
  }));
  assert.deepEqual(users.filter(({ files }) => files.length !== 1), []);
});

test("WGSL lives in kernels/ only", () => {
  const holders = filesUnder("src", ".ts").filter((file) =>
    /@compute\b|@workgroup_size\b/.test(textOf(file))
  );
  assert.deepEqual(holders, []);
});

const lines = (path: string) =>
  textOf(path).split("\n").map((line, i) => ({ line, place: `${path}:${i + 1}` }));
const readAloud = [
  ...["src", "bench", "scripts", "examples"].flatMap((folder) => filesUnder(folder, ".ts")),
  ...filesUnder("scripts", ".mjs"),
  ...filesUnder("kernels", ".wgsl"),
];

test("no line of the sources is longer than 120 columns", () => {
  const long = readAloud.flatMap(lines).filter(({ line }) => line.length > 120);
  assert.deepEqual(long.map(({ place }) => place), []);
});

/** Below a run's folder, which is there: tracking does not import io. */
const IN_A_RUN = "src/tracking/";

test("folders are made by makeFolders(): Node's own mkdir never ends below /proc", () => {
  const makers = filesUnder("src", ".ts").filter((file) =>
    !file.startsWith(IN_A_RUN) && /mkdir(Sync)?\([^)]*recursive/.test(withoutComments(textOf(file)))
  );
  assert.deepEqual(makers, []);
});

/** Read what no user names: the program's own files, its folders, descriptors and what they have just written. */
const READ_OWN_FILES = [
  "src/assembly/ranks.ts",
  "src/assembly/vulkan_selection.ts",
  "src/cli/doctor/machine_probe.ts",
  "src/cli/roll_call.ts",
  "src/cli/signals.ts",
  "src/cli/slurm.ts",
  "src/cli/terminal/driver_noise.ts",
  "src/cli/weights_hash.ts",
  "src/gpu/wgsl.ts",
  "src/io/hub/blob.ts",
  // With checks of their own: what lies there is asked before it is opened.
  "src/io/records/append_log.ts",
  "src/io/records/checkpoint.ts",
  "src/io/records/score_journal.ts",
  "src/scorer/token.ts",
  "src/scorer/url.ts",
  // Of runs of their own; tracking does not import io.
  "src/tracking/trackio.ts",
  "src/tracking/wandb/offline_run.ts",
  "src/tracking/wandb/record_log.ts",
  "src/tracking/wandb/settings.ts",
  "src/tracking/wandb/upload.ts",
];

test("files are read by io/files, which opens no pipe and no device, and knows a pointer of Git LFS", () => {
  const readers = filesUnder("src", ".ts").filter((file) =>
    !file.startsWith("src/io/files/") &&
    /\b(readFile|readFileSync|createReadStream)\(/.test(withoutComments(textOf(file)))
  );
  assert.deepEqual(readers.filter((file) => !READ_OWN_FILES.includes(file)), []);
});

/** The one place, and a rank of MPI that ends the others with it, which escapes by itself. */
const WRITES_OUT = ["src/cli/terminal/output.ts", "src/parallel/mpi/world.ts"];

test("standard output and standard error are written to in one place, which gives texts no control of them", () => {
  const writers = filesUnder("src", ".ts").filter((file) =>
    /\b(stdout|stderr)\.write\(|\bconsole\.(log|error|warn|info)\(/.test(withoutComments(textOf(file)))
  );
  assert.deepEqual(writers, WRITES_OUT);
});

test("names in kernels are snake_case; a T behind one says transposed", () => {
  const named = /\b(?:fn|let|var|override|const|alias)(?:<[\w, ]+>)? +([a-z]\w*)/g;
  const wrong = filesUnder("kernels", ".wgsl").flatMap(lines).flatMap(({ line, place }) =>
    [...line.replace(/\/\/.*/, "").matchAll(named)].map(([, name]) => name)
      .filter((name) => /[A-Z]/.test(name.replace(/T$/, ""))).map((name) => `${place} ${name}`)
  );
  assert.deepEqual(wrong, []);
});

/** Words that gave way to another in CONTRIBUTING.md. */
const OTHER_WORDS: Readonly<Record<string, RegExp>> = {
  "linear, linear_grad_x, linear_grad_w": /matmul_(nn|nt|tn)|InputGrad|WeightGrad/,
  "rowCount: RowCount": /kind: "(few|many)"|kind\?: "(few|many)"/,
  "a condition": /_vec4\.wgsl|_vec4"/,
  "generation batch": /\btrainStep\b|train\/step\.ts/,
};

test("a thing that has one word in CONTRIBUTING.md is called by no other", () => {
  const others = readAloud.flatMap(lines).flatMap(({ line, place }) =>
    Object.entries(OTHER_WORDS).filter(([, word]) => word.test(line)).map(([word]) => `${place}: say ${word}`)
  );
  assert.deepEqual(others, []);
});

/** Files that git would commit: tracked, or new and not ignored. Without git, those of the folders below. */
function committedFiles(): string[] {
  try {
    const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
      cwd: ROOT,
    });
    return listed.toString().split("\0").filter((path) => path !== "");
  } catch {
    const folders = ["src", "scripts", "test", "bench", "kernels", "configs", "slurm", ".ci"];
    const top = readdirSync(ROOT).filter((name) => /\.(json|md|lock)$/.test(name));
    return [...top, ...folders.flatMap((folder) => filesUnder(folder, ""))];
  }
}

test("no file names a registry or a folder of one machine", () => {
  // Assembled, so that this file does not name them either.
  const registries = ["registry.npm", "registry.yarn", "deb.debian", "archive.ubuntu", "npm.jsr"];
  const folders = ["work", "home/[a-z]", "Users/[A-Za-z]"];
  const machine = new RegExp(
    `https?://[^\\s"]*(${registries.join("|")})|(^|[\\s"'\`(=:])/(${folders.join("|")})[\\w./-]*/`,
    "m",
  );
  const isText = (path: string) =>
    /\.(ts|mjs|js|json|lock|md|yaml|yml|sh|wgsl|py|jsonl)$|^\.ci\/|^\.npmrc$/.test(path);
  const existing = committedFiles().filter((path) => isText(path) && !path.startsWith("models/"))
    .filter((path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile());
  assert.ok(existing.includes("package.json"));
  assert.deepEqual(
    existing.map((path) => [path, textOf(path).match(machine)?.[0]]).filter(([, found]) => found),
    [],
  );
});

test("package.json and deno.json have the same tasks, each of which passes its own name on", () => {
  const { prepack, ...scripts }: Record<string, string> = JSON.parse(textOf("package.json")).scripts;
  assert.equal(prepack, scripts.build, "npm pack and npm publish build first");
  const tasks: Record<string, string> = JSON.parse(textOf("deno.json")).tasks;
  assert.deepEqual(Object.keys(scripts), Object.keys(tasks));
  for (const name of Object.keys(scripts)) {
    assert.equal(scripts[name], `exec node scripts/start.mjs ${name}`);
    assert.equal(tasks[name], `/usr/bin/env deno run -A scripts/start.mjs ${name}`);
  }
});

test("examples import the package as its users do, and nothing of ours beside it", () => {
  const examples = filesUnder("examples", ".ts");
  assert.ok(examples.length >= 3);
  const foreign = examples.flatMap((file) =>
    [...textOf(file).matchAll(/from "([^"]+)"/g)].map(([, name]) => name)
      .filter((name) => name !== "grpo-webgpu" && !name.startsWith("node:")).map((name) => `${file}: ${name}`)
  );
  assert.deepEqual(foreign, []);
});

test("what a file exports, another file uses", () => {
  const files = ["src", "bench", "scripts", "examples", "test"].flatMap((folder) =>
    filesUnder(folder, ".ts")
  );
  const users = new Map<string, string[]>();
  for (const file of files) {
    for (const word of new Set(withoutComments(textOf(file)).match(/\w+/g))) {
      users.set(word, [...users.get(word) ?? [], file]);
    }
  }
  const unused = files.filter((file) => !file.endsWith(".test.ts")).flatMap((file) =>
    [...textOf(file).matchAll(/^export (?:async )?(?:function\*?|const|class) (\w+)/gm)].map(([, name]) =>
      name
    )
      .filter((name) => users.get(name)!.every((user) => user === file)).map((name) => `${file}: ${name}`)
  );
  assert.deepEqual(unused, []);
});

test("a test that is left out on a machine is noted, so that npm test names it", () => {
  const skipping = filesUnder("test", ".test.ts").filter((file) =>
    file !== "test/unit/house.test.ts" && /\bskip: |\.skip\(|\{ skip \}/.test(textOf(file))
  );
  assert.ok(skipping.length > 0);
  assert.deepEqual(skipping.filter((file) => !textOf(file).includes("leftOut(")), []);
});

/** The suites of a file whose body is async. */
function asyncSuites(source: string): string[] {
  const calls = /\b(?:describe|suite)(?:\.\w+)?\(\s*((?:[^()]|\([^()]*\))*?),\s*async\b/g;
  return [...source.matchAll(calls)].map(([, name]) => name);
}

test("no suite's body is async: Deno runs none of its tests and says ok", () => {
  const files = filesUnder("test", ".ts").filter((file) => file !== "test/unit/house.test.ts");
  assert.deepEqual(files.flatMap((file) => asyncSuites(textOf(file)).map((name) => `${file}: ${name}`)), []);
  const sample = ['"f()", async () => {', '"a b",\n  async () => {', '"c", { skip }, async function () {'];
  const other = ['"f()", () => {\n  it("g", async () => {', '"h", { concurrency: true }, () => {'];
  assert.deepEqual(
    asyncSuites([...sample, ...other].map((call) => `describe(${call}});\n});`).join("\n")),
    ['"f()"', '"a b"', '"c", { skip }'],
  );
});

/**
 * What a file's `@throws` tags say in another form than "ErrorClass when ...", several classes joined by "or"; or in
 * words, "the ..." or "what ...", where the error is of somebody else's making.
 */
function oddThrows(source: string): string[] {
  const tags = [...source.matchAll(/@throws\b *([^\n]*)/g)].map(([, said]) => said);
  const form = /^(?:[A-Z]\w+(?: or [A-Z]\w+)*(?: from [\w ]+)? when|the|what) \S/;
  return tags.filter((said) => !form.test(said));
}

test("every @throws names the class of the error, then when it is thrown", () => {
  const files = filesUnder("src", ".ts");
  const odd = files.flatMap((file) => oddThrows(textOf(file)).map((said) => `${file}: @throws ${said}`));
  assert.deepEqual(odd, []);
  const sample = [
    "RangeError when n < 0",
    "Error or TypeError when it is none",
    "the signal's reason when the caller aborts",
    "what `request` throws",
  ];
  const other = ["{Error} if n < 0", "RangeError for another width", "Error", "Error, naming it, when n < 0"];
  assert.deepEqual(
    oddThrows([...sample, ...other].map((said) => `/** @throws ${said}\n */`).join("")),
    other,
  );
});
