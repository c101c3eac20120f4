import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { buildReport, commonFolder } from "../../src/assembly/report.ts";
import { parseMetrics } from "../../src/tracking/run_records.ts";
import { trendOf } from "../../src/tracking/trend.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const ATTACK = `<script>alert(1)</script><img src="http://example.com/x">\u001b[2J`;

async function writeRun(runDir: string): Promise<void> {
  await mkdir(join(runDir, "samples"), { recursive: true });
  const rows = Array.from({ length: 12 }, (_, index) => ({
    step: index + 1,
    "safety/safe_ratio": index < 6 ? 0.25 : 0.75,
    "helpfulness/mean": index,
    "cost/mean": -index,
    "lambda/d": 0,
  }));
  await writeFile(join(runDir, "metrics.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const sample = { prompt: ATTACK, completion: ATTACK, reward: 1, cost: 2, combined: -1, unsafe: true };
  for (const step of [2, 4, 10]) {
    await writeFile(join(runDir, "samples", `train_${step}.jsonl`), `${JSON.stringify(sample)}\n`);
  }
  const scatter = { step: 10, from_step: 1, total: 2, rewards: [1, -1], costs: [-1, 1] };
  await writeFile(join(runDir, "samples", "train_scatter_10.json"), JSON.stringify(scatter));
  await writeFile(join(runDir, "run_config.json"), JSON.stringify({ beta: 0.05, model_name: ATTACK }));
}

describe("buildReport() of one run", () => {
  it("writes a page with the numbers, the plots, the first and last samples and the config", () =>
    withScratchFolder(async (dir) => {
      await writeRun(dir);
      const path = await buildReport([dir]);
      assert.equal(path, join(dir, "report.html"));
      const html = await readFile(path, "utf8");
      assert.match(html, /Safe ratio<\/th><td class="number">0\.25<\/td><td class="number">0\.75<\/td>/);
      assert.match(html, /Training samples, step 10.*Training samples, step 2/s);
      assert.doesNotMatch(html, /samples, step 4/);
      assert.match(html, /SH 1 \(50%\)/);
      assert.match(html, /<code>beta<\/code>/);
    }));

  it("shows beside each sample what every function said of it, and nothing where one does not apply", () =>
    withScratchFolder(async (dir) => {
      await writeRun(dir);
      const sample = { prompt: "a", completion: "b", reward: 1, cost: 0, combined: 1, unsafe: false };
      const scores = { "rewards/<b>": 0.25, "costs/none": null };
      const file = join(dir, "samples", "train_10.jsonl");
      await writeFile(file, `${JSON.stringify({ ...sample, scores })}\n`);
      const html = await readFile(await buildReport([dir]), "utf8");
      const heads = ["combined", "rewards/&lt;b&gt;", "costs/none"];
      assert.match(
        html,
        new RegExp(heads.map((name) => `class="number">${name}</th>`).join('<th scope="col" ')),
      );
      assert.match(html, /<td class="number">0\.25<\/td><td class="number"><\/td><td class="safe">/);
    }));

  it("shows what the model wrote as text, and asks the network for nothing", () =>
    withScratchFolder(async (dir) => {
      await writeRun(dir);
      const html = await readFile(await buildReport([dir]), "utf8");
      assert.match(html, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/);
      assert.doesNotMatch(html, /<img|<link|@import|url\(/);
      assert.ok(!html.includes("\u001b"));
      const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)![1];
      assert.match(
        policy,
        /^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-\S+' 'sha256-\S+';/,
      );
      assert.doesNotMatch(policy, /connect-src|unsafe-eval|http|\*/);
      // Every script that begins, one of data apart, is one of ours, whose hash the policy names.
      const scripts = [...html.matchAll(/<script([^>]*)>(.*?)<\/script/gs)];
      assert.equal(html.match(/<script/g)!.length, scripts.length);
      assert.deepEqual(scripts.map(([, attributes]) => attributes), [
        ' type="application/json" id="data"',
        "",
        "",
      ]);
      for (const [, , text] of scripts.slice(1)) {
        assert.ok(policy.includes(`'sha256-${createHash("sha256").update(text).digest("base64")}'`));
      }
      assert.ok(JSON.parse(scripts[0][2]).samples[0].columns.prompt.startsWith("<script>alert(1)</script>"));
    }));

  it("can be made while a run has only begun", () =>
    withScratchFolder(async (dir) => {
      await writeFile(join(dir, "metrics.jsonl"), "");
      assert.match(await readFile(await buildReport([dir]), "utf8"), /no steps yet/);
    }));

  it("says what is missing in a folder that is no run", () =>
    withScratchFolder(async (dir) => {
      await assert.rejects(buildReport([dir]), /no metrics\.jsonl in it/);
      await assert.rejects(buildReport([]), RangeError);
    }));
});

it("buildReport() of several runs lays them over each other in the folder above", () =>
  withScratchFolder(async (dir) => {
    await writeRun(join(dir, "beta0.01_seed1_unified"));
    await writeRun(join(dir, "beta0.1_seed1_unified"));
    const path = await buildReport([
      join(dir, "beta0.01_seed1_unified"),
      join(dir, "beta0.1_seed1_unified/"),
    ]);
    assert.equal(path, join(dir, "comparison.html"));
    const html = await readFile(path, "utf8");
    assert.match(
      html,
      /<li class="s0">beta0\.01<\/li><li class="s1">beta0\.1<\/li>/,
    );
    assert.match(html, /0\.25 → <b>0\.75<\/b>/);
  }));

it("commonFolder() compares whole names of folders", () => {
  assert.equal(commonFolder(["/runs/a/x", "/runs/ab/y"]), "/runs");
  assert.equal(commonFolder(["/runs/x"]), "/runs");
  assert.equal(commonFolder(["/a", "/b/c"]), "/");
});

describe("parseMetrics()", () => {
  it("merges the lines of a step, the later one winning, and skips a torn last line", () => {
    const text = `{"step":2,"kl":1}\n{"step":1}\n{"step":2,"kl":3,"loss":4}\n{"step":3,"k`;
    assert.deepEqual(parseMetrics(text, "m"), [{ step: 1 }, { step: 2, kl: 3, loss: 4 }]);
  });

  it("names the line that is not JSON", () => {
    assert.throws(() => parseMetrics(`{"step":1}\nnonsense\n`, "run/metrics.jsonl"), /run\/metrics\.jsonl:2/);
  });
});

describe("trendOf()", () => {
  it("takes the means of the first and last five values", () => {
    const rows = Array.from({ length: 20 }, (_, step) => ({ step, kl: step }));
    assert.deepEqual(trendOf(rows, "kl"), { first: 0, last: 19, firstMean: 2, lastMean: 17 });
  });

  it("does not let both means see the same values in a short run", () => {
    assert.deepEqual(trendOf([1, 2, 9].map((kl, step) => ({ step, kl })), "kl"), {
      first: 1,
      last: 9,
      firstMean: 1,
      lastMean: 9,
    });
    assert.equal(trendOf([{ step: 1, kl: NaN }], "kl"), undefined);
  });
});
