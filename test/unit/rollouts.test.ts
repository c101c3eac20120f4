/** Completions that a run keeps: what stands in rollouts/, and what the `rollouts` command finds there. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { readRollouts } from "../../src/assembly/rollouts.ts";
import { readRun } from "../../src/assembly/run_records.ts";
import { rolloutsText } from "../../src/cli/terminal/rollouts_text.ts";
import { widthOf } from "../../src/cli/terminal/columns.ts";
import { writeTextInFolder } from "../../src/io/files/atomic_files.ts";
import type { RolloutRecord, SampledCompletion } from "../../src/tracking/rollout_records.ts";
import { findRollouts, type RolloutQuery } from "../../src/tracking/rollout_query.ts";
import { sinksOf } from "../../src/tracking/sinks.ts";
import { openTracker, type TrackerConfig } from "../../src/tracking/tracker.ts";
import { parseCondition } from "../../src/tracking/where.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { runProgram } from "../e2e/program.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TrackerConfig = {
  hist_every: 0,
  scatter_every: 0,
  scatter_max_points: 1,
  debug_log_every: 0,
  debug_log_n_samples: 0,
  eval_table_n_samples: 0,
};
const TEXTS = { prompts: ["p", "p", "q", "q"], completions: ["a", "b", "c\n\u2028é", "d"] };
const SAMPLED: SampledCompletion[] = [0, 1, 2, 3].map((i) => ({
  prompt_ids: [1, 2],
  completion_ids: Array.from({ length: i + 1 }, (_, t) => 10 + t),
  logprobs: Array.from({ length: i + 1 }, (_, t) => Math.fround(-0.1 * (t + 1))),
  ref_logprobs: i === 1 ? null : [Math.fround(-0.3)],
  end: i === 2 ? "length" : "eos",
  lambda: 1.5,
}));

/** Logs steps of a run that goes on after `after`, where that is more than 0. */
async function keep(
  runDir: string,
  steps: readonly number[],
  { after = 0, sampled = SAMPLED }: { after?: number; sampled?: SampledCompletion[] | null } = {},
): Promise<void> {
  const state = { scatter: { fromStep: 0, seen: 0, stride: 1, rewards: [], costs: [] } };
  const tracker = await openTracker({
    runDir,
    config: CONFIG,
    sinks: sinksOf(() => {}, writeTextInFolder, "none"),
    onMessage: assert.fail,
    resume: after > 0 ? { step: after, state } : undefined,
  });
  for (const step of steps) {
    const record = {
      rewards: [step, NaN, 3, 4],
      combined: [2, NaN, 2, 4],
      numGenerations: 2,
      named: { "rewards/brief": [0.5, NaN, 1, 2] },
    };
    await tracker.logStep(stepRecord({ step, ...record }), TEXTS, sampled);
  }
  await tracker.close();
}

async function recordsIn(path: string): Promise<RolloutRecord[]> {
  const text = gunzipSync(await readFile(path)).toString();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

const QUERY: RolloutQuery = { limit: 0, columns: [] };
const placesOf = async (runDir: string, query: Partial<RolloutQuery>) =>
  (await findRollouts(readRollouts(runDir), { ...QUERY, ...query })).rollouts.map(({ step, index }) =>
    10 * step + index
  );

describe("a run that keeps all completions", () => {
  it("has of each its texts, tokens, f32 log-probs, scores, advantage, end and length, and null for no score", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [3]);
      const records = await recordsIn(join(dir, "rollouts", "3.jsonl.gz"));
      assert.equal(records.length, 4);
      const { logprobs, ref_logprobs, advantage, ...third } = records[2];
      assert.deepEqual([ref_logprobs!.map(Math.fround), records[1].ref_logprobs], [
        SAMPLED[2].ref_logprobs,
        null,
      ]);
      assert.deepEqual(third, {
        step: 3,
        index: 2,
        prompt: "q",
        completion: "c\n\u2028é",
        end: "length",
        length: 3,
        reward: 3,
        cost: 1,
        combined: 2,
        lambda: 1.5,
        scores: { "rewards/brief": 1 },
        prompt_ids: [1, 2],
        completion_ids: [10, 11, 12],
      });
      assert.deepEqual(Float32Array.from(logprobs!), Float32Array.from(SAMPLED[2].logprobs!));
      // The group of 2 and 4: (2 - 3) / (sqrt 2 + 1e-4).
      assert.ok(Math.abs(advantage - -1 / (Math.SQRT2 + 1e-4)) < 1e-12);
      // A group of one score has no deviation to go by.
      assert.deepEqual(records.slice(0, 2).map((record) => record.advantage), [0, 0]);
      const { reward, combined, scores } = records[1];
      assert.deepEqual([reward, combined, scores], [null, null, { "rewards/brief": null }]);
    }));

  it("that was killed has after its end the files of one that was not, to the byte", () =>
    withScratchFolder(async (dir) => {
      const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
      await keep(whole, [1, 2, 3, 4]);
      await keep(killed, [1, 2, 3, 7]); // 3 and 7 after the checkpoint
      await writeFile(join(killed, "rollouts", "3.jsonl.gz"), "another step 3");
      await keep(killed, [3, 4], { after: 2 });
      assert.deepEqual(Object.keys(contentsOf(killed)).length, 4);
      assert.deepEqual(contentsOf(killed), contentsOf(whole));
    }));

  it("keeps none of later steps than its checkpoint's where it stops keeping them", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [1, 2, 3]);
      await keep(dir, [2, 3], { after: 1, sampled: null });
      assert.deepEqual(await readdir(join(dir, "rollouts")), ["1.jsonl.gz"]);
    }));
});

it("a run that does not keep them has no folder for them", () =>
  withScratchFolder(async (dir) => {
    await keep(dir, [1], { sampled: null });
    assert.deepEqual(await readdir(dir), []);
  }));

describe("kept completions in a report", () => {
  const MODEL = join(ROOT, "models/quickstart/policy");
  /** What a page's program is given. */
  const samplesIn = async (path: string) => {
    const html = await readFile(path, "utf8");
    const [, json] = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)!;
    return JSON.parse(json).samples;
  };

  it("stand in the place of the table of their step, with their tokens where a tokenizer is there", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [1, 2]);
      await writeFile(join(dir, "metrics.jsonl"), '{"step":1}\n');
      await mkdir(join(dir, "samples"));
      const sample = { prompt: "p", completion: "a", reward: 1, cost: 0, combined: 1, unsafe: false };
      for (const step of [2, 3]) {
        await writeFile(join(dir, "samples", `train_${step}.jsonl`), `${JSON.stringify(sample)}\n`);
      }
      const without = (await readRun(dir)).tables;
      assert.deepEqual(without.map(({ step, samples }) => [step, samples.length]), [[1, 4], [2, 4], [3, 1]]);
      assert.equal(without[0].samples[0].tokens, undefined);
      assert.ok(Number.isNaN(without[0].samples[1].reward), "a score that was not given");
      assert.equal(without[0].samples[1].unsafe, false);
      await writeFile(join(dir, "run_config.json"), JSON.stringify({ model_name: MODEL }));
      const [{ samples: [, second] }] = (await readRun(dir)).tables;
      assert.deepEqual([second.end, second.length, second.advantage], ["eos", 2, 0]);
      assert.deepEqual(second.tokens?.map(({ logprob, refLogprob }) => [logprob, refLogprob]), [
        [-0.100000001, null],
        [-0.200000003, null],
      ]);
    }));

  it("are written to a page as they were asked for, and nothing but its path is printed", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [2, 10]);
      await writeFile(join(dir, "run_config.json"), JSON.stringify({ model_name: MODEL }));
      const page = join(dir, "found.html");
      const asked = ["--where", "length < 4", "--sort", "-reward", "--limit", "2"];
      const { code, output } = await runProgram(["rollouts", dir, ...asked, "--report", page]);
      assert.deepEqual([code, output], [0, `${page}\n`]);
      const samples = await samplesIn(page);
      assert.deepEqual(
        samples.map((
          { step, columns }: { step: number; columns: { reward: number } },
        ) => [step, columns.reward]),
        [[10, 10], [2, 3]],
      );
      assert.equal(samples[1].tokens.texts.length, 3);
      assert.match(
        await readFile(page, "utf8"),
        /2 of 6 of 8 kept completions, where length &lt; 4, sorted by -reward/,
      );
      const refused = await runProgram(["rollouts", dir, "--json", "--report", page]);
      assert.equal(refused.code, 1);
      assert.match(refused.output, /--report.*--json|--json.*--report/);
    }));

  it("that are no records are an error with the run, not a page", () =>
    withScratchFolder(async (dir) => {
      await writeFile(join(dir, "metrics.jsonl"), '{"step":1}\n');
      await mkdir(join(dir, "rollouts"));
      await writeFile(join(dir, "rollouts", "1.jsonl.gz"), gzipSync('{"step":1,"prompt":"p"}\n'));
      await assert.rejects(readRun(dir), /TypeError: Cannot show rollouts of .* line of step 1 without/);
    }));
});

describe("kept completions", () => {
  it("are found by a condition, in the order asked for, those without a value last, and counted", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [2, 10]); // as texts "10" comes before "2"
      const all = [20, 21, 22, 23, 100, 101, 102, 103];
      assert.deepEqual(await placesOf(dir, {}), all);
      assert.deepEqual(await placesOf(dir, { where: "cost > 0 && step>5" }), [102, 103]);
      assert.deepEqual(await placesOf(dir, { where: "end == 'length' || completion ~ '^a$'" }), [
        20,
        22,
        100,
        102,
      ]);
      assert.deepEqual(await placesOf(dir, { where: "!(cost >= 0) && rewards/brief == 0.5" }), [20, 100]);
      assert.deepEqual(await placesOf(dir, { where: "reward == null" }), [21, 101]);
      assert.deepEqual(await placesOf(dir, { where: "reward < 1e9" }), all.filter((at) => at % 10 !== 1));
      assert.deepEqual(await placesOf(dir, { sort: "reward" }), [20, 22, 102, 23, 103, 100, 21, 101]);
      assert.deepEqual(await placesOf(dir, { sort: "-reward", limit: 3 }), [100, 23, 103]);
      const { matching, total, rollouts } = await findRollouts(readRollouts(dir), {
        ...QUERY,
        limit: 1,
        where: "cost>0",
      });
      assert.deepEqual([matching, total, rollouts.length], [4, 8, 1]);
    }));

  it("that are asked for by a field which there is not are an error with the nearest one", () =>
    withScratchFolder(async (dir) => {
      await keep(dir, [1]);
      await assert.rejects(
        placesOf(dir, { sort: "-rewrd" }),
        /^RangeError: --sort .*"rewrd"; did you mean reward\?/,
      );
      await assert.rejects(
        placesOf(dir, { columns: ["costs"] }),
        /^RangeError: --columns .*did you mean cost\?/,
      );
    }));

  it("that cannot be read are an error with the file, and so is a folder without any", () =>
    withScratchFolder(async (dir) => {
      await assert.rejects(placesOf(dir, {}), /required files rollouts.STEP.jsonl.gz.*log_completions=all/);
      await mkdir(join(dir, "rollouts"));
      const path = join(dir, "rollouts", "5.jsonl.gz");
      for (const content of ["no gzip", gzipSync("{}\n").subarray(0, 15), ""]) {
        await writeFile(path, content);
        await assert.rejects(placesOf(dir, {}), new RegExp(`^Error: Cannot unpack '${path}'`), `${content}`);
      }
      for (const line of ["{", "7", "null", "[]"]) {
        await writeFile(path, gzipSync(`{"step": 5}\n${line}\n`));
        await assert.rejects(placesOf(dir, {}), new RegExp(`${path}:2`), line);
      }
    }));

  it("are printed in the terminal's width, wide characters counted and none of its controls let through", () => {
    const record = {
      step: 50,
      reward: -1.23456,
      cost: null,
      prompt: "why\n\nnot",
      completion: `\u001b[31m${"漢字".repeat(99)}`,
    } as unknown as RolloutRecord;
    const kinds = {
      step: "number",
      reward: "number",
      cost: "number",
      prompt: "text",
      completion: "text",
    } as const;
    const found = { rollouts: [record], kinds, matching: 1, total: 1 };
    const columns = ["step", "reward", "cost", "prompt", "completion"];
    const [head, line, ...rest] = rolloutsText(found, columns, 80).split("\n");
    assert.equal(head, "step  reward  cost  prompt   completion");
    assert.match(line, /^ {2}50 {2}-1\.235 {5}- {2}why not {2}\\u\{1b\}\[31m漢字.*…$/);
    assert.ok(widthOf(line) <= 80 && widthOf(line) >= 79);
    assert.deepEqual(rest, []);
  });
});

describe("a condition that cannot be read is an error with its place:", () => {
  const kinds = { cost: "number", completion: "text" } as const;
  const CASES: [text: string, at: number, words: RegExp][] = [
    ["", 1, /a field, a number or a text in quotes, found the end/],
    ["cost", 5, /==, !=, .* or ~, found the end/],
    ["cost = 1", 6, /found "="/],
    ["cost > 1 cost < 2", 10, /&&, \|\| or the end, found "cost"/],
    ["(cost > 1", 10, /required "\)", found the end/],
    ["csot > 1", 1, /did you mean cost\?/],
    ["__proto__ > 1", 1, /a field \(cost, completion\)/],
    ["constructor == null", 1, /a field/],
    ["cost > 'a'", 8, /a number to compare with cost, found 'a'/],
    ["cost ~ 'a'", 1, /a text before ~/],
    ["completion ~ 'a('", 14, /a regular expression, found Invalid regular expression/],
    ["completion == 'a", 15, /a text whose quote is not closed/],
    ["cost < null", 6, /== or != beside null/],
    ["cost > 1; process.exit()", 9, /found ";"/],
  ];
  for (const [text, at, words] of CASES) {
    it(text || "nothing", () => {
      assert.throws(() => parseCondition(text, kinds), (error: Error) => {
        assert.match(error.message, words);
        assert.ok(error.message.includes(` at character ${at}:\n`), error.message);
        assert.equal(error.message.split("\n").at(-1), `  ${" ".repeat(at - 1)}^`);
        return error instanceof RangeError;
      });
    });
  }

  it("&& binds more than ||, ! the next one alone, and quotes stand in a text behind a backslash", () => {
    const holds = (text: string) => parseCondition(text, kinds)({ cost: 1, completion: "it's" });
    assert.deepEqual(
      ["cost==1||cost==2&&cost==3", "(cost==1||cost==2)&&cost==3", "!cost==2&&cost!=1", "-1.5e0<cost"].map(
        holds,
      ),
      [true, false, false, true],
    );
    assert.ok(holds("completion == 'it\\'s' && completion ~ 't\\'s$' && \"it's\" == completion"));
  });
});
