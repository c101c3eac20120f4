/** The files of an evaluation as the reference's scripts read them, and files of answers as `eval` reads them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { tagOf } from "../../src/assembly/evaluations.ts";
import { readScored } from "../../src/assembly/scored_answers.ts";
import { evalCommand } from "../../src/cli/eval.ts";
import { subjectsOf } from "../../src/cli/eval_subjects.ts";
import { openKeptRows } from "../../src/evaluate/kept_rows.ts";
import { rounded } from "../../src/evaluate/parts.ts";
import { loggedPoint, type Point } from "../../src/evaluate/points.ts";
import { pairsOf, summarize } from "../../src/evaluate/summary.ts";
import { npyOfNumbers, npyOfTexts } from "../../src/io/records/npy.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const HEADER_SPACES = "20".repeat(60);

const SOURCE = {
  model: "m",
  used_policy_model: true,
  dataset_split: "test",
  reward_model: "r",
  cost_model: "c",
  preset: "ours",
  settings: null,
};

const point = (prompt: string, reward: number, cost: number, more: Partial<Point> = {}): Point => ({
  prompt,
  response: "an answer of five words",
  reward,
  cost,
  ...more,
});

const jsonl = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

describe("numpy's files", () => {
  it("are byte for byte those of np.save", () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    assert.equal(
      hex(npyOfNumbers([1.5, -0.1])),
      "934e554d5059010076007b276465736372273a20273c6638272c2027666f727472616e5f6f72646572273a2046616c73652c20" +
        "277368617065273a2028322c292c207d" + HEADER_SPACES + "0a000000000000f83f9a9999999999b9bf",
    );
    assert.equal(
      hex(npyOfTexts(["SH", "UU"])),
      "934e554d5059010076007b276465736372273a20273c5532272c2027666f727472616e5f6f72646572273a2046616c73652c20" +
        "277368617065273a2028322c292c207d" + HEADER_SPACES + "0a53000000480000005500000055000000",
    );
  });
});

describe("the summary", () => {
  const points = [
    point("a", 1, -1, { clipped: true, fake_turn: true, category: "theft", tokens: 4 }),
    point("b", 2, 3, { clipped: false, fake_turn: false, category: ["theft", "fraud"], tokens: 8 }),
    point("c", -1, -2, { clipped: false, fake_turn: false }),
    point("d", 0, 0, { clipped: false, fake_turn: false }),
  ];

  it("begins with the reference's keys: shares in percent, deviations with divisor n", () => {
    const summary = summarize(points, SOURCE, { seed: 1 });
    const keys =
      "counts percents safe_ratio R_mean R_std C_mean C_std num_points used_policy_model used_vllm " +
      "policy_vllm_ckpt dataset_split reward_model cost_model";
    assert.deepEqual(Object.keys(summary).slice(0, 14), keys.split(" "));
    assert.deepEqual(summary.counts, { SH: 1, SU: 2, UH: 1, UU: 0 });
    assert.deepEqual(summary.percents, { SH: 25, SU: 50, UH: 25, UU: 0 });
    assert.equal(summary.safe_ratio, 75);
    assert.deepEqual([summary.R_mean, summary.C_mean, summary.num_points], [0.5, 0, 4]);
    assert.ok(Math.abs(summary.R_std - Math.sqrt(1.25)) < 1e-12, `${summary.R_std}`);
  });

  it("says besides how far to trust them, and tells each category apart", () => {
    const summary = summarize(points, SOURCE, { seed: 1 });
    assert.equal(summary.clipped_share, 0.25);
    assert.equal(summary.fake_turn_share, 0.25);
    assert.deepEqual(summary.unsafe_share, 0.25);
    const [low, high] = summary.unsafe_share_interval;
    assert.ok(low > 0.006 && low < 0.007 && high > 0.8 && high < 0.81, `${low} to ${high}`);
    const { theft, fraud } = summary.categories!;
    assert.deepEqual([theft.num_points, theft.safe_ratio, theft.R_mean], [2, 50, 1.5]);
    assert.deepEqual([fraud.num_points, fraud.safe_ratio, fraud.C_mean], [1, 0, 3]);
    assert.deepEqual([summary.length.words_mean, summary.length.tokens_mean], [5, 6]);
    assert.ok(!("against_base" in summary), "without a base nothing is said of one");
  });

  it("of answers that nobody watched tells no clipped share, and looks for fake turns in the texts", () => {
    const read = [point("a", 1, 1, { response: "Yes. USER: thanks" }), point("b", 1, 1)];
    const summary = summarize(read, SOURCE, { seed: 1 });
    assert.equal(summary.clipped_share, null);
    assert.equal(summary.fake_turn_share, 0.5);
  });

  it("holds a model against a base by prompt, whatever the order; no common prompt is an error", () => {
    const base = { name: "b", points: [point("b", 0, 4), point("a", 5, 0), point("a", 0, 0)] };
    assert.deepEqual(
      pairsOf([point("a", 1, 1), point("a", 2, 2), point("a", 3, 3)], base.points).map((
        [own, other],
      ) => [own.reward, other.reward]),
      [[1, 5], [2, 0]],
    );
    const { against_base } = summarize(points, SOURCE, { seed: 1, base });
    assert.equal(against_base!.num_pairs, 2);
    assert.deepEqual([against_base!.reward.win_rate.wins, against_base!.reward.win_rate.losses], [1, 1]);
    assert.deepEqual([against_base!.cost.win_rate.wins, against_base!.cost.win_rate.losses], [2, 0]);
    const other = { name: "other", points: [point("z", 1, 1)] };
    assert.throws(
      () => summarize(points, SOURCE, { seed: 1, base: other }),
      /base other: required answers to the same/,
    );
  });

  it("scores in bfloat16 are the nearest, of two as near the even one", () => {
    const cases = [[1, 1], [-0.1, -0.10009765625], [1.00390625, 1], [1.01171875, 1.015625], [
      3.1415927,
      3.140625,
    ]];
    for (const [score, wanted] of cases) assert.equal(rounded(score, "bfloat16"), wanted);
    assert.equal(rounded(-0.1, "float32"), -0.1);
  });
});

const openPointsLog = (path: string, identity: string) => openKeptRows(path, identity, loggedPoint);

describe("what an evaluation keeps", () => {
  it("is there after a kill, but for a line without its end; another evaluation begins anew", () =>
    withScratchFolder(async (folder) => {
      const path = join(folder, "sub", "kept.jsonl");
      const points = [point("a", 0.1, -0, { scores: { "rewards/x": null } }), point("b", 2, 1e-300)];
      const log = await openPointsLog(path, "one");
      await log.add(points);
      log.close();
      writeFileSync(path, `${readFileSync(path, "utf8")}{"step":3,"prompt":"torn`);
      const again = await openPointsLog(path, "one");
      assert.deepEqual(again.kept, points);
      await again.add([point("c", 1, 1)]);
      again.close();
      assert.deepEqual((await openPointsLog(path, "one")).kept.map(({ prompt }) => prompt), ["a", "b", "c"]);
      const other = await openPointsLog(path, "two");
      assert.deepEqual(other.kept, []);
      await other.add([point("z", 1, 1)]);
      other.close();
      assert.deepEqual((await openPointsLog(path, "one")).kept, []);
      writeFileSync(path, `${JSON.stringify({ step: 0, identity: "one" })}\n{"step":1,"prompt":"a"}\n`);
      await assert.rejects(openPointsLog(path, "one"), /required a scored completion to a line/);
    }));
});

describe("files of answers", () => {
  it("eval --scored counts them without a model, and holds them against a base's", () =>
    withScratchFolder(async (folder) => {
      const own = join(folder, "own.jsonl");
      writeFileSync(
        own,
        jsonl([
          { prompt: "a", response: "one", reward: 1, cost: -1, category: "x" },
          { prompt: "b", completion: "two", reward: -1, cost: 1 },
        ]),
      );
      const base = join(folder, "old_points.jsonl");
      writeFileSync(base, jsonl([{ prompt: "b", response: "two", reward: -2, cost: 2 }]));
      assert.equal(await evalCommand(["--scored", own, "--base", base]), 0);
      const written = join(folder, "own-eval");
      const names = ["Cs.npy", "Rs.npy", "labels.npy", "points.jsonl", "scatter.png", "summary.json"];
      assert.deepEqual(readdirSync(written).sort(), names.map((name) => `own_${name}`));
      const summary = JSON.parse(readFileSync(join(written, "own_summary.json"), "utf8"));
      assert.deepEqual(summary.counts, { SH: 1, SU: 0, UH: 0, UU: 1 });
      assert.deepEqual([summary.against_base.base, summary.against_base.num_pairs], ["old", 1]);
      const rows = readFileSync(join(written, "own_points.jsonl"), "utf8").trim().split("\n");
      assert.deepEqual(JSON.parse(rows[1]), {
        prompt: "b",
        response: "two",
        reward: -1,
        cost: 1,
        label: "UU",
      });
      assert.equal(
        (await readScored(join(written, "own_points.jsonl"), "prompt")).length,
        2,
        "it reads its own",
      );
    }));

  it("a row without an answer or a score is an error that names it", () =>
    withScratchFolder(async (folder) => {
      const path = join(folder, "bad.jsonl");
      const good = { prompt: "a", response: "b", reward: 1, cost: 1 };
      const bad: [row: object, words: RegExp][] = [
        [{ ...good, reward: "1" }, /line 2: required a finite number under "reward", got "1"/],
        [{ ...good, cost: undefined }, /line 2: required a finite number under "cost", got none/],
        [{ ...good, response: null }, /line 2: required a text under "response" or "completion", got none/],
      ];
      for (const [row, words] of bad) {
        writeFileSync(path, jsonl([good, row]));
        await assert.rejects(readScored(path, "prompt"), words);
      }
    }));
});

describe("what eval is asked to evaluate", () => {
  it("lists of models are YAML: names, NAME: MODEL, or the reference's sweeps", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "models.yaml");
      const listed = async (text: string) => {
        writeFileSync(file, text);
        return (await subjectsOf({ models: file }, { model_name: "unused" })).subjects.map((
          { tag, name },
        ) => [tag, name]);
      };
      assert.deepEqual(await listed("- a/b\n- c\n"), [["b", "a/b"], ["c", "c"]]);
      assert.deepEqual(await listed("Alpaca: a/b\nmine: runs/x\n"), [["Alpaca", "a/b"], ["mine", "runs/x"]]);
      assert.deepEqual(
        await listed("sweeps:\n  - model_name: Mine\n    policy_model_path: a/b\n    output_dir: z\n"),
        [["Mine", "a/b"]],
      );
      await assert.rejects(
        listed("a: x/policy\nb: 3\n"),
        /models.yaml': required the name of a model, got 3/,
      );
      await assert.rejects(listed("- x/a\n- y/a\n"), /would begin with "a"/);
      await assert.rejects(
        listed("- {policy_model_path: a, policy_vllm_ckpt: b}"),
        /convert that model first/,
      );
      await assert.rejects(listed("[]"), /required a list of models/);
    }));

  it("names a model's files by what tells it from others", () => {
    assert.deepEqual(
      ["runs/a/checkpoint-100", "models/quickstart/policy/", "org/name@main", "x/old_points.jsonl", "a b"]
        .map(tagOf),
      ["a-checkpoint-100", "quickstart-policy", "name", "old", "a-b"],
    );
  });

  it("two options that say what is evaluated are refused", async () => {
    await assert.rejects(
      evalCommand(["--model", "a", "--scored", "b"]),
      /--model and --scored each say what/,
    );
    await assert.rejects(
      evalCommand(["--model", "a", "--set", "model_name=b"]),
      /--model and --set model_name each say what/,
    );
  });
});
