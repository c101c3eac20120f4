/** What doctor tries out of a run's settings: as training would use it, and without a wait. */
import assert from "node:assert/strict";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { probeRequirements } from "../../src/cli/doctor/requirements.ts";
import { loadConfig } from "../../src/config/load.ts";
import { json, replaceFetch, scoring } from "./fake_scorer.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { withinAMinute } from "./within_a_minute.ts";

const QUICKSTART = join(ROOT, "configs/quickstart.yaml");

/** What was found of each subject with these settings over the quickstart's: the detail, or what is missing. */
async function probe(
  settings: Record<string, unknown>,
  options: Parameters<typeof probeRequirements>[1] = {},
): Promise<Record<string, string>> {
  const text = await readFile(QUICKSTART, "utf8");
  const overrides = Object.entries(settings).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const config = loadConfig({ text, fileName: "quickstart.yaml" }, { overrides });
  const requirements = await probeRequirements(config, options);
  return Object.fromEntries(requirements.map(({ subject, outcome }) => [
    subject,
    "detail" in outcome ? outcome.detail : `missing: ${outcome.failure} | ${outcome.remedy}`,
  ]));
}

describe("the requirements of a run", () => {
  it("of the quickstart are all there", async () => {
    const found = await probe({});
    assert.deepEqual(
      Object.keys(found),
      [
        "model_name",
        "train_jsonl",
        "eval_jsonl",
        "scorer_url",
        "reward_model",
        "cost_model",
        "output_dir",
        "disk",
      ],
    );
    assert.deepEqual(Object.values(found).filter((text) => text.startsWith("missing")), []);
    assert.match(
      found.model_name,
      /policy: \d+ layers of width \d+, \d+ tokens known, completions end at 2 "<\/s>"$/,
    );
    assert.match(found.cost_model, /score_type "cost"/);
  });

  it("reward and cost model swapped are missing, each by its own key", async () => {
    const found = await probe({
      reward_model: "models/quickstart/cost",
      cost_model: "models/quickstart/reward",
    });
    assert.match(found.reward_model, /^missing: .*score_type "cost", need "reward".*swapped/);
    assert.match(found.cost_model, /^missing: .*score_type "reward", need "cost".*swapped/);
    assert.match(
      (await probe({ cost_model: "none" })).cost_model,
      /^missing: .*none.* \| set cost_model to /,
    );
  });

  it("a classifier's label is found as a run finds it, and a model without a score head is missing", () =>
    withScratchFolder(async (folder) => {
      const classifier = join(folder, "classifier");
      await cp(join(ROOT, "test/golden/sequence_classification/qwen2_three_labels"), classifier, {
        recursive: true,
      });
      await cp(join(ROOT, "models/quickstart/policy/tokenizer.json"), join(classifier, "tokenizer.json"));
      const found = await probe({ cost_model: classifier, cost_label: "unsafe", reward_model: classifier });
      assert.match(found.cost_model, /tokens known, a classifier, whose label 2 "unsafe" is the cost$/);
      assert.match(found.reward_model, /^missing: reward_model=.*reward_label to one of .*2 \("unsafe"\)/);
      assert.match(
        (await probe({ cost_model: classifier, cost_label: "unsave" })).cost_model,
        /^missing: .*unsave.*cost_label/s,
      );
      assert.match(
        (await probe({ reward_model: "models/quickstart/policy" })).reward_model,
        /^missing: .*a score model is required/,
      );
    }));

  it("a model that gives scores is no policy", async () => {
    const { model_name } = await probe({ model_name: "models/quickstart/reward" });
    assert.match(model_name, /^missing: .*a model that writes text is required.*reward_model or cost_model/);
  });

  it("an adapter is a policy where adapters are trained or none is, and is described by its base", () =>
    withScratchFolder(async (folder) => {
      const base_model_name_or_path = join(ROOT, "models/quickstart/policy");
      const settings = { peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"] };
      const text = JSON.stringify({ ...settings, base_model_name_or_path });
      await writeFile(join(folder, "adapter_config.json"), text);
      await cp(
        join(ROOT, "test/golden/lora/llama2_all/adapter_model.safetensors"),
        join(folder, "adapter_model.safetensors"),
      );
      assert.match(
        (await probe({ model_name: folder, use_peft: true })).model_name,
        /: an adapter on .*policy: \d+ layers of width \d+, \d+ tokens known, completions end at/,
      );
      assert.match((await probe({ model_name: folder })).model_name, /^missing: .*set use_peft/);
      assert.match((await probe({ model_name: folder }, { isTraining: false })).model_name, /an adapter on/);
    }));

  it("functions are loaded in the place of the score models, and one that is not exported is missing", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "rewards.mjs");
      await writeFile(file, "export const brief = (answers) => answers.map(() => 1);\n");
      const found = await probe({ reward_functions: [`${file}#brief`], reward_model: "none" });
      assert.equal(found.functions, `${file}#brief`);
      assert.deepEqual([found.scorer_url, found.reward_model, found.cost_model], Array(3).fill(undefined));
      const { functions } = await probe({ cost_functions: [`${file}#rude`] });
      assert.match(
        functions,
        /^missing: .*must export a function "rude"; it exports brief \| set reward_functions/,
      );
    }));

  it("a model without a tokenizer is missing", () =>
    withScratchFolder(async (folder) => {
      const model = join(folder, "model");
      await cp(join(ROOT, "models/quickstart/policy"), model, { recursive: true });
      await rm(join(model, "tokenizer.json"));
      assert.match(
        (await probe({ model_name: model })).model_name,
        /^missing: .*tokenizer.* \| set model_name/s,
      );
    }));

  it("prompts are read under prompt_key, those of training up to max_samples, those of evaluation all", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "prompts.jsonl");
      await writeFile(file, '{"question": "a"}\n{"question": "b"}\n{"prompt": "c"}\n');
      const settings = { train_jsonl: file, eval_jsonl: file, prompt_key: "question" };
      const found = await probe({ ...settings, max_samples: 2 });
      assert.equal(found.train_jsonl, `${file}: 2 prompts`);
      assert.match(found.eval_jsonl, /^missing: .*3.* \| set eval_jsonl to a file with one {"question": /);
      assert.match((await probe(settings)).train_jsonl, /^missing: /);
      const gone = await probe({ eval_jsonl: join(folder, "gone.jsonl") });
      assert.match(gone.eval_jsonl, /^missing: .*gone\.jsonl/);
      assert.equal((await probe({ ...settings, eval_jsonl: null })).eval_jsonl, undefined);
    }));

  it("output_dir is writable, will be made, or cannot be", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "file");
      await writeFile(file, "");
      assert.equal((await probe({ output_dir: folder })).output_dir, `${folder}: writable`);
      const inside = join(folder, "a", "b");
      assert.equal((await probe({ output_dir: inside })).output_dir, `${inside}: will be made`);
      assert.match(
        (await probe({ output_dir: join(file, "c") })).output_dir,
        /^missing: .*file.* \| set output_dir/,
      );
    }));
});

describe("the disk", () => {
  it("is told with what checkpoints take: all that the run will hold, with f32 values beside 16 bits", async () => {
    const bytes = async (settings: Record<string, unknown>) =>
      /takes (\S+ \S+?)(?:, up to (\d+) of them (\S+ \S+))?; \S+ \S+ free/.exec((await probe(settings)).disk)
        ?.slice(1);
    // The quickstart's policy: 205120 values, of which 320 are of norms.
    assert.deepEqual(await bytes({ max_steps: 10, save_steps: 0 }), ["2.3 MiB", undefined, undefined]);
    assert.deepEqual(await bytes({ max_steps: 10, save_steps: 4 }), ["2.3 MiB", "3", "7 MiB"]);
    assert.deepEqual(await bytes({ max_steps: 10, save_steps: 1, save_total_limit: 1 }), [
      "2.3 MiB",
      "2",
      "4.7 MiB",
    ]);
    const [half] = (await bytes({ dtype: "bfloat16", save_steps: 0 }))!;
    assert.equal(half, "2.7 MiB");
    assert.match((await probe({ use_peft: true })).disk, /^\S+ \S+ free$/);
  });
});

describe("a scorer service", () => {
  const url = "http://scorer.test:8000";

  it("is asked for its health, and its models are not looked for here", async (t) => {
    const { asked, waitsMs } = replaceFetch(t, scoring);
    const found = await probe({ scorer_url: url, reward_model: "none", cost_model: "none" });
    assert.equal(found.scorer_url, `${url}: healthy, on fake`);
    assert.deepEqual([found.reward_model, found.cost_model], [undefined, undefined]);
    assert.deepEqual([asked, waitsMs], [["/health"], [5000]]);
  });

  it("that is away is missing after one try", async (t) => {
    const { asked } = replaceFetch(t, () => json({ detail: "away" }, 503));
    const { scorer_url } = await probe({ scorer_url: url });
    assert.match(scorer_url, /^missing: .*503: away.* \| start the scorer/s);
    assert.equal(asked.length, 1);
  });

  it("whose address stands in a file is asked there", async (t) => {
    replaceFetch(t, scoring);
    await withScratchFolder(async (folder) => {
      await writeFile(join(folder, "url"), `${url}\n`);
      const { scorer_url } = await probe({ scorer_url: `file:${join(folder, "url")}` });
      assert.equal(scorer_url, `${url}: healthy, on fake`);
    });
  });

  it("whose address is not written yet is missing, and is not waited for", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "jobs", "url");
      await mkdir(dirname(file));
      const probed = probe({ scorer_url: `file:${file}` });
      const { scorer_url } = await withinAMinute(probed, "doctor looks at the file");
      assert.match(scorer_url, /^missing: No scorer URL in .* need a line with a URL/);
    }));
});
