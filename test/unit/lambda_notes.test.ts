/** What doctor says of lambda, of the settings and of the rows that lie in the run's folder. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { lambdaNotes } from "../../src/cli/doctor/lambda_notes.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const rows = Array.from({ length: 25 }, (_, i) => ({ step: i + 1, "lambda/value": 5, "lambda/J_C_raw": 1 }));

test("doctor says which rules can never let lambda fall", () =>
  withScratchFolder(async (output_dir) => {
    const notesOf = async (settings: object) =>
      (await lambdaNotes({ ...defaultConfig(), output_dir, ...settings })).map((
        { mark, detail },
      ) => [mark, detail]);
    const [[mark, detail], ...more] = await notesOf({});
    assert.deepEqual([mark, more], ["note", []]);
    assert.match(detail, /^lambda_rule log_ema: it rises .* and can never fall; signed and pid let it$/);
    assert.match((await notesOf({ lambda_rule: "per_prompt" }))[0][1], /^lambda_rule per_prompt: /);
    for (
      const settings of [{ lambda_rule: "pid" }, { lambda_adapt: false }, { lambda_pos_cost_only: false }]
    ) {
      assert.deepEqual(await notesOf(settings), []);
    }
  }));

test("doctor looks at the rows of each run that the settings name, and says where it cannot read them", () =>
  withScratchFolder(async (output_dir) => {
    const config = { ...defaultConfig(), output_dir, beta: [0.1, 0.2, 0.3], lambda_rule: "signed" as const };
    const folder = (beta: number) => join(output_dir, `beta${beta}_seed42_unified`);
    for (const beta of [0.1, 0.2]) mkdirSync(folder(beta));
    writeFileSync(
      join(folder(0.1), "metrics.jsonl"),
      rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
    );
    writeFileSync(join(folder(0.2), "metrics.jsonl"), "no row\n");
    const [standing, broken, ...more] = await lambdaNotes(config);
    assert.deepEqual(more, []);
    assert.ok(standing.detail.startsWith(`${folder(0.1)}: lambda stands at lambda_max = 5`), standing.detail);
    assert.match(broken.detail, /^Cannot read .*metrics\.jsonl:1: need one JSON object/);
  }));
