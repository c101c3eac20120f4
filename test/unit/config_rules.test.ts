/** What contradicts itself is said with its place in the file. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatConfig } from "../../src/config/describe.ts";
import { ConfigError, loadConfig } from "../../src/config/load.ts";
import { defaultConfig } from "../../src/config/schema.ts";

const loaded = (text: string) => loadConfig({ text, fileName: "run.yaml" });

for (
  const [line, problem] of [
    ["lambda_cost: 9", "lambda_cost must lie between"],
    ["max_steps: 0", "max_steps must be >= 1"],
    ["delta: 1.1", "delta must be >= 1 \\+ epsilon_high"],
    ["loss_type: cispo", "epsilon_high must be >= 1"],
    ["lora_dropout: 0.1", "lora_dropout must be 0"],
    ["lora_merge: true", "lora_merge needs use_peft"],
    ["warmup_steps: 501", "warmup_steps must be <= max_steps"],
  ]
) {
  test(`"${line}" is refused with the line that it stands in`, () => {
    assert.throws(() => loaded(`# settings\nseed: 1\n${line}\n`), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, new RegExp(`run\\.yaml:3(:\\d+)?: ${problem}`));
      return true;
    });
  });
}

test("an address is http, https or file: from its beginning on", () => {
  assert.equal(loaded("scorer_url: file:outputs/url").scorer_url, "file:outputs/url");
  for (const url of ["profile:/shared/url", "ftp://host", "file:"]) {
    assert.throws(() => loaded(`scorer_url: "${url}"`), /scorer_url must be an http/, url);
  }
});

test("a number without bounds is asked for as a number", () => {
  assert.throws(() => loaded("cost_threshold_d: x"), /cost_threshold_d must be a number, got the string "x"/);
});

test("formatConfig() breaks no long value over lines", () => {
  const long = "a folder with blanks in its name ".repeat(10).trim();
  const lines = formatConfig({ ...defaultConfig(), output_dir: long }).split("\n");
  assert.ok(lines.includes(`output_dir: ${long}`), lines.find((line) => line.startsWith("output_dir")));
});
