/** The kernels' texts: what linking them gives, and what is said where a call or a text does not fit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { explainCompileError, kernelNames, linkKernel } from "../../src/gpu/wgsl.ts";
import { conditionSets } from "../condition_sets.ts";
import { filesUnder, textOf } from "./source_files.ts";

const variants = kernelNames().flatMap((kernel) =>
  conditionSets(kernel).map((conditions) => ({ kernel, conditions }))
);

test("every kernel links under every set of its conditions, with no import or condition left in it", () => {
  assert.ok(variants.length > kernelNames().length);
  for (const { kernel, conditions } of variants) {
    const { text } = linkKernel(kernel, conditions);
    assert.doesNotMatch(text, /^\s*import |@(if|elif|else)\b|\/\//m, kernel);
    assert.equal(text.match(/@compute/g)?.length, 1, kernel);
  }
});

test("a binding has one number and one name, and numbers have no gaps", () => {
  for (const { kernel, conditions } of variants) {
    const { storage, params } = linkKernel(kernel, conditions);
    const numbers = [...storage.map(({ binding }) => binding), ...(params ? [params.binding] : [])];
    assert.equal(new Set(numbers).size, numbers.length, kernel);
    assert.equal(new Set(storage.map(({ name }) => name)).size, storage.length, kernel);
    assert.ok(params === null || params.fields.length > 0, kernel);
  }
});

test("the interface of a kernel is what its text declares", () => {
  const { file, storage, params } = linkKernel("linear_grad_bias");
  assert.equal(file, "kernels/linear/linear_grad_bias.wgsl");
  assert.deepEqual(storage, [
    { name: "dy", binding: 0, isWritten: false },
    { name: "db", binding: 1, isWritten: true },
  ]);
  assert.deepEqual(params, {
    binding: 2,
    fields: ["rows", "columns", "stride"].map((name) => ({ name, type: "u32" })),
  });
});

test("names of the matrix extension come out of the linker as they went in", () => {
  const { text } = linkKernel("linear_matrix");
  for (
    const name of [
      "subgroup_matrix_result<f32, 16, 16>",
      "subgroup_matrix_left<f16, 16, 16>",
      "subgroupMatrixLoad<Left",
    ]
  ) {
    assert.ok(text.includes(name), name);
  }
  assert.doesNotMatch(text, /texture/);
});

test("an unknown kernel and an unknown condition are named", () => {
  assert.throws(() => linkKernel("lineal"), /Cannot find kernel "lineal": no such file below kernels\//);
  assert.throws(
    () => linkKernel("linear_grad_bias", { VEC3: true }),
    /Cannot link kernels\/linear\/linear_grad_bias\.wgsl with the condition VEC3: it asks for none/,
  );
});

/** Line (from 1) of the first line of a text that holds `part`. */
const lineOf = (text: string, part: string) => text.split("\n").findIndex((line) => line.includes(part)) + 1;

test("what a compiler says of a linked text is told of the source file and line, in Dawn's words and in Deno's", () => {
  const kernel = kernelNames().find((name) => linkKernel(name).text.includes("fn workgroup_sum"))!;
  assert.ok(kernel);
  const part = "partials[lane] = value;";
  const line = lineOf(linkKernel(kernel).text, part);
  const place = `kernels/lib/reduce.wgsl:${lineOf(textOf("kernels/lib/reduce.wgsl"), part)}`;
  const said = [
    `Error while parsing WGSL: :${line}:3 error: no value 'partials'\n  partials[lane] = value;`,
    `Shader '${kernel}' error: no identifier partials\n  ┌─ wgsl:${line}:3\n`,
  ];
  for (const message of said) {
    const told = explainCompileError(kernel, {}, message);
    assert.ok(told.startsWith(`${place}: `), told);
    assert.match(told, /partials.*, in "partials\[lane\] = value;"$/);
  }
});

test("what names no place is told of the kernel's file", () => {
  assert.equal(
    explainCompileError("linear_grad_bias", {}, "out of memory"),
    "kernels/linear/linear_grad_bias.wgsl: out of memory",
  );
});

test("library files say in their first line what they hold, and no kernel is named like one", () => {
  const library = filesUnder("kernels/lib", ".wgsl");
  assert.ok(library.length > 0);
  for (const path of library) {
    const name = path.replace(/^.*\/|\.wgsl$/g, "");
    assert.ok(textOf(path).startsWith(`// ${name}: `), path);
    assert.doesNotMatch(textOf(path), /@compute/, path);
  }
});
