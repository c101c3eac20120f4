import assert from "node:assert/strict";
import { test } from "node:test";
import { parsedJson, parsedObject, shortJson } from "../../src/config/parsed_json.ts";

test("JSON is taken as it is, and refused in one line where it is none", () => {
  assert.deepEqual(parsedJson('{"a": [1, {"b": "[[["}]}'), { a: [1, { b: "[[[" }] });
  assert.throws(() => parsedJson('{"a":\n\n x}'), (error: Error) => {
    assert.ok(error instanceof SyntaxError);
    assert.doesNotMatch(error.message, /[\r\n]/);
    return true;
  });
});

test("JSON nested deeper than 200 is refused, brackets in strings aside", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  assert.ok(parsedJson(nested(200)));
  assert.throws(() => parsedJson(nested(201)), /^SyntaxError: lists and objects are nested deeper than 200$/);
  assert.throws(() => parsedJson(`${'{"a":'.repeat(201)}1${"}".repeat(201)}`), /nested deeper than 200/);
  assert.equal(parsedJson(JSON.stringify("[".repeat(500))), "[".repeat(500));
  assert.ok(parsedJson(JSON.stringify([..."[".repeat(500)].map(() => '\\"["'))));
});

test("what is no object is an error with the file's name, what it holds and what to do", () => {
  const cases: [string, string][] = [
    ["null", "required a JSON object, got null"],
    ["[1]", "required a JSON object, got a list"],
    ['"text"', 'required a JSON object, got "text"'],
    ["{", "not valid JSON"],
  ];
  for (const [text, words] of cases) {
    assert.throws(() => parsedObject(text, "dir/config.json", "copy it again"), (error: Error) => {
      assert.ok(error instanceof TypeError);
      assert.ok(error.message.startsWith(`dir/config.json: ${words}`), error.message);
      assert.ok(error.message.endsWith("; copy it again"));
      return true;
    });
  }
});

test("shortJson() cuts what is long, and has a word for what JSON has none for", () => {
  assert.equal(shortJson({ a: 1 }), '{"a":1}');
  assert.equal(shortJson("x".repeat(100)), `"${"x".repeat(79)}...`);
  assert.equal(shortJson(undefined), "undefined");
});
