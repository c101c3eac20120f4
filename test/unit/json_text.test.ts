/** JSON changed and written again: numbers stay as they were spelled. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";

import { type SavedModel, writeModelConfig } from "../../src/assembly/run_folder.ts";
import { changedJson } from "../../src/io/files/json_text.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const whole = (text: string) => changedJson(text, (json) => json);

it("a number keeps its spelling, wherever it stands", () => {
  const text =
    '{"cap": 30.0, "eps": 1e-06, "list": [1, 2.50, -0.0, 1E5], "big": 12345678901234567890, "plain": 7}';
  const spelled = ["30.0", "1e-06", "2.50", "-0.0", "1E5", "12345678901234567890", "7"];
  const written = whole(text);
  assert.deepEqual(written.match(/-?\d[\d.eE+-]*/g)!.sort(), [...spelled, "1"].sort());
  assert.deepEqual(JSON.parse(written), JSON.parse(text));
});

it("what looks like a number inside a string stays a string", () => {
  const text = String.raw`{"30.0": "a \"30.0\" b", "path": "c:\\1.0", "name": "1.0"}`;
  assert.deepEqual(JSON.parse(whole(text)), JSON.parse(text));
});

it("a change may drop, add and move values", () => {
  const written = changedJson('{"a": 1.0, "b": {"c": 2.0}, "d": 3}', ({ a, b }) => ({ b, e: 4, a }));
  assert.equal(written.replace(/\s/g, ""), '{"b":{"c":2.0},"e":4,"a":1.0}');
});

it("config.json beside a run's weights has the numbers of its model: transformers refuses a cap of 30 for 30.0", () =>
  withScratchFolder(async (dir) => {
    const configText = '{"model_type": "gemma2", "final_logit_softcapping": 30.0, "torch_dtype": "bfloat16"}';
    const loaded = { policy: {}, configText, files: [], base: {}, template: null } as unknown as SavedModel;
    const [path] = await writeModelConfig(dir, loaded, "float32");
    const written = readFileSync(path, "utf8");
    assert.match(written, /"final_logit_softcapping": 30\.0,/);
    assert.deepEqual(JSON.parse(written), {
      model_type: "gemma2",
      final_logit_softcapping: 30,
      dtype: "float32",
      torch_dtype: "float32",
    });
  }));

it("what is no JSON is refused", () => assert.throws(() => whole('{"a": 1.0'), SyntaxError));
