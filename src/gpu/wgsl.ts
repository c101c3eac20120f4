/**
 * The kernels' texts: linked with what they import from kernels/lib, and read for their interface. Imports and
 * conditions are WESL's (https://wesl-lang.dev): `import package::lib::grid::Place;`, `@if(VEC4) ... @else ...`.
 */
import { readdirSync, readFileSync } from "node:fs";
import { _linkSync, RecordResolver, type SrcMap } from "wesl";

/** Names that `@if` in a kernel's text asks for, and whether they hold; those that are left out do not. */
export type Conditions = Readonly<Record<string, boolean>>;

/** What a caller of a kernel must give, as its text declares it. All are of group 0. */
export interface KernelInterface {
  storage: readonly { name: string; binding: number; isWritten: boolean }[];
  /** The uniform `struct Params`: 32-bit scalars, in order; null where the kernel has none. */
  params: { binding: number; fields: readonly { name: string; type: "u32" | "i32" | "f32" }[] } | null;
  overrides: readonly { name: string; hasDefault: boolean }[];
}

export interface LinkedKernel extends KernelInterface {
  /** Path from the root of the project, for messages. */
  file: string;
  text: string;
}

const FOLDER = new URL("../../kernels/", import.meta.url);
const LIBRARY = "lib/";

/**
 * Names of Dawn's matrix extension, which the linker does not know. They pass through it as names of textures, which no
 * kernel here has.
 */
const DISGUISES: Readonly<Record<string, string>> = {
  subgroup_matrix_left: "texture_2d_array",
  subgroup_matrix_right: "texture_storage_2d",
  subgroup_matrix_result: "texture_depth_2d_array",
  subgroupMatrixLoad: "textureLoad",
  subgroupMatrixStore: "textureStore",
  subgroupMatrixMultiplyAccumulate: "textureGatherCompare",
  row_major: "rgba8unorm",
  col_major: "rgba8snorm",
};
const disguised = (text: string) =>
  text.replace(/\b(subgroup_?[mM]atrix\w*|(row|col)_major)\b/g, (name) => DISGUISES[name] ?? name);
const undisguised = (text: string) =>
  Object.entries(DISGUISES).reduce((made, [name, other]) => made.replaceAll(other, name), text);

/** Text of every file below kernels/, by path. */
const sources: Readonly<Record<string, string>> = Object.fromEntries(
  readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".wgsl")).map((path) => path.replaceAll("\\", "/"))
    .map((path) => [path, readFileSync(new URL(path, FOLDER), "utf8")]),
);
const isLibrary = (path: string) => path.startsWith(LIBRARY);
/** Path of each kernel, by name: the folders are families, and a name stands in one of them. */
const paths = new Map(
  Object.keys(sources).filter((path) => !isLibrary(path))
    .map((path) => [path.replace(/^.*\/|\.wgsl$/g, ""), path]),
);
const resolver = new RecordResolver(
  Object.fromEntries(Object.entries(sources).map(([path, text]) => [`./${path}`, disguised(text)])),
  { keepComments: false },
);

/** Names of all kernels, in alphabetical order. */
export function kernelNames(): string[] {
  return [...paths.keys()].sort();
}

function pathOf(name: string): string {
  const path = paths.get(name);
  if (path === undefined) throw new Error(`Cannot find kernel "${name}": no such file below kernels/`);
  return path;
}

/** Every condition that this text or one that it imports asks for. */
function conditionsIn(path: string, seen = new Set<string>()): Set<string> {
  if (seen.has(path)) return new Set();
  seen.add(path);
  const asked = [...sources[path].matchAll(/@(?:if|elif)\(([^)]*)\)/g)].flatMap(([, each]) =>
    each.match(/\w+/g) ?? []
  );
  const imported = [...sources[path].matchAll(/^import package::([\w:]+?)(?:::\w+|::\{[^}]*\});/gm)]
    .map(([, module]) => `${module.replaceAll("::", "/")}.wgsl`).filter((other) => other in sources);
  return new Set([...asked, ...imported.flatMap((other) => [...conditionsIn(other, seen)])]);
}

/** Names of the conditions that a kernel's text, or one that it imports, asks for. */
export function kernelConditions(name: string): string[] {
  return [...conditionsIn(pathOf(name))].sort();
}

function link(name: string, conditions: Conditions): SrcMap {
  const path = pathOf(name);
  const known = kernelConditions(name);
  const unknown = Object.keys(conditions).filter((each) => !known.includes(each));
  if (unknown.length > 0) {
    throw new Error(
      `Cannot link kernels/${path} with the condition ${unknown.join(", ")}: it asks for ${
        known.join(", ") || "none"
      }`,
    );
  }
  try {
    return _linkSync({ resolver, rootModuleName: `./${path}`, conditions });
  } catch (error) {
    throw linkError(path, error as LinkerError);
  }
}

/** What the linker throws: a place in the message of a text that it cannot read, one beside it for other errors. */
type LinkerError = Error & { weslLocation?: { file: string; line: number } };

/** What the linker said, told of the source file and line. */
function linkError(path: string, error: LinkerError): Error {
  const [said] = error.message.split("\n");
  const [, file, line, cause] = /^(\S+):(\d+):\d+ error: (.*)/.exec(said) ?? [];
  const at = error.weslLocation ?? { file: file ?? path, line: line ?? 1 };
  return new Error(
    `Cannot link ${sourceFile(at.file)}:${at.line}: ${cause ?? said.replace(/ in file: .*/, "")}`,
    { cause: error },
  );
}

/** Path from the root of the project, of a name that the linker gives a file. */
const sourceFile = (name: string) => `kernels/${name.replace(/^\.\//, "").replace(/\.wesl$/, ".wgsl")}`;

/** Reads what a linked text declares: it is printed by the linker, one declaration a line. */
function readInterface(file: string, text: string): KernelInterface {
  const declared = [
    ...text.matchAll(/@group\(0\) @binding\((\d+)\) var<(storage|uniform)(?:, (\w+))?> (\w+): ([^;]+);/g),
  ].map(([, binding, space, access, name, type]) => ({
    binding: Number(binding),
    space,
    access,
    name,
    type,
  }));
  const uniforms = declared.filter(({ space }) => space === "uniform");
  const fields = [...(/struct Params \{([^}]*)\}/.exec(text)?.[1] ?? "").matchAll(/(\w+): (\w+)/g)]
    .map(([, name, type]) => ({ name, type: type as "u32" | "i32" | "f32" }));
  const isScalar = fields.every(({ type }) => ["u32", "i32", "f32"].includes(type));
  if (uniforms.length > 1 || uniforms.some(({ type }) => type !== "Params") || !isScalar) {
    throw new Error(`Cannot read ${file}: need one uniform at the most, a struct Params of u32, i32 and f32`);
  }
  return {
    storage: declared.filter(({ space }) => space === "storage")
      .map(({ name, binding, access }) => ({ name, binding, isWritten: access === "read_write" })),
    params: uniforms.length === 0 ? null : { binding: uniforms[0].binding, fields },
    overrides: [...text.matchAll(/^(?:@id\(\d+\) )?override (\w+)[^;=]*(=)?[^;]*;/gm)]
      .map(([, name, assigned]) => ({ name, hasDefault: assigned !== undefined })),
  };
}

const linked = new Map<string, LinkedKernel>();

/**
 * The same text with its overrides before all else: Deno's compiler fails where one follows an array whose size another
 * decides, and the linker puts a kernel's own declarations before what it imports. Other lines keep their numbers.
 */
function overridesFirst(text: string): string {
  const override = /^override [^;]*;$/gm;
  const overrides = (text.match(override) ?? []).join(" ");
  return text.replace(override, "").replace(/^(\s*enable [^;]*;)*/, (enables) => `${enables}${overrides}`);
}

/**
 * A kernel with all that it imports, under conditions: valid WGSL, and its interface.
 * @throws Error when there is no such kernel, an import leads nowhere, or it does not ask for a condition that is given
 */
export function linkKernel(name: string, conditions: Conditions = {}): LinkedKernel {
  const key = `${name}|${JSON.stringify(conditions)}`;
  let found = linked.get(key);
  if (!found) {
    const file = `kernels/${pathOf(name)}`;
    const text = undisguised(link(name, conditions).dest.text);
    linked.set(key, found = { file, text: overridesFirst(text), ...readInterface(file, text) });
  }
  return found;
}

/** The place in a source file that a line and column (from 1) of a linked text came from. */
function sourceOf(name: string, conditions: Conditions, line: number, column: number) {
  const map = link(name, conditions);
  const lines = map.dest.text.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  const { src, position } = map.destToSrc(before + Math.min(column - 1, lines[line - 1]?.length ?? 0));
  const above = src.text.slice(0, position).split("\n");
  return {
    file: sourceFile(src.path ?? pathOf(name)),
    line: above.length,
    text: undisguised(src.text.split("\n")[above.length - 1] ?? "").trim(),
  };
}

/** What a compiler said of a linked text, told of the source file and line that it came from. */
export function explainCompileError(name: string, conditions: Conditions, said: string): string {
  const place = /:(\d+):(\d+)/.exec(said);
  if (!place) return `${linkKernel(name, conditions).file}: ${said}`;
  const { file, line, text } = sourceOf(name, conditions, Number(place[1]), Number(place[2]));
  const cause = /error: (.*)/.exec(said)?.[1] ?? said.split("\n")[0];
  return `${file}:${line}: ${cause}, in "${text}"`;
}
