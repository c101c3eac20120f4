/** Who judges a run: functions of files, a service, score models; and how settings name functions. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openFunctionScorer, servesScoreModels } from "../../src/assembly/judges.ts";
import { openScorer } from "../../src/assembly/scorer.ts";
import { parseFunctionName } from "../../src/config/function_names.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { answers } from "../answers.ts";
import { problemsOf } from "./loaded_config.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const MODULE = `import type { Answer } from "grpo-webgpu";
export const brief = (answers: readonly Answer[]): number[] => answers.map(({ completion }) => -completion.length);
export async function rude(answers: readonly Answer[]): Promise<number[]> {
  return await Promise.resolve(answers.map(({ completion }) => completion.includes("!") ? 1 : 0));
}
export const limit = 3;
`;
const NONE = { ...defaultConfig(), beta: 0 };

/** With `MODULE` in a file of its own. */
const withModule = (body: (file: string) => Promise<void>) =>
  withScratchFolder(async (folder) => {
    const file = join(folder, "rewards.ts");
    await writeFile(file, MODULE);
    await body(file);
  });

describe("a function's name in the settings", () => {
  it("is a file, what it exports, and a weight", () => {
    const name = { path: "my/rewards.ts", exportName: "brief", name: "brief", weight: 1 };
    assert.deepEqual(parseFunctionName("my/rewards.ts#brief"), name);
    assert.deepEqual(parseFunctionName(" my/rewards.ts#brief:-0.5"), { ...name, weight: -0.5 });
    assert.deepEqual(parseFunctionName("C:\\a b\\r.ts#brief:0")?.path, "C:\\a b\\r.ts");
    for (
      const text of ["rewards.ts", "#brief", "rewards.ts#", "rewards.ts#a b", "r.ts#brief:", "r.ts#brief:x"]
    ) {
      assert.equal(parseFunctionName(text), null, text);
    }
  });

  it("is checked when settings are read, and stands once", () => {
    assert.match(problemsOf("reward_functions: [rewards.ts]")[0], /need FILE#EXPORT or .*got "rewards.ts"/);
    assert.match(
      problemsOf("cost_functions: ['a.ts#rude', 'b.ts#rude']")[0],
      /^run.yaml:1:1: cost_functions: two functions are named "rude"/,
    );
  });
});

describe("openFunctionScorer()", () => {
  it("judges by the weighted functions of a TypeScript file", () =>
    withModule(async (file) => {
      const scorer = await openFunctionScorer({
        ...NONE,
        reward_functions: [`${file}#brief:0.5`],
        cost_functions: [`${file}#rude`],
      });
      assert.deepEqual(await scorer!.score(answers(["q", "q"], ["four", "hey!!"])), {
        rewards: [-2, -2.5],
        costs: [0, 1],
        named: { "rewards/brief": [-4, -5], "costs/rude": [0, 1] },
      });
      assert.equal(await openFunctionScorer(NONE), undefined);
    }));

  it("says which file cannot be loaded, and what a file exports instead", () =>
    withModule(async (file) => {
      const open = (name: string) => openFunctionScorer({ ...NONE, reward_functions: [name] });
      await assert.rejects(open(`${file}#verbose`), {
        name: "TypeError",
        message: /must export a function "verbose"; it exports brief, limit, rude/,
      });
      await assert.rejects(open(`${file}#limit`), { name: "TypeError" });
      await assert.rejects(open(`${file}x#brief`), {
        message: /Cannot load .*rewards.tsx of reward_functions/,
      });
    }));
});

describe("openScorer()", () => {
  it("loads no score models where functions judge or a scorer is given", () =>
    withModule(async (file) => {
      assert.ok(servesScoreModels(NONE));
      const missing = { ...NONE, reward_model: "/none", cost_model: "/none" };
      const own = { ...missing, reward_functions: [`${file}#brief`] };
      const given = { score: () => Promise.resolve({ rewards: [1], costs: [2] }) };
      assert.deepEqual([servesScoreModels(own), servesScoreModels(missing, given)], [false, false]);
      const judgedBy = async (config: typeof NONE, scorer?: typeof given) => {
        const opened = await openScorer(config, { device: "none", scorer });
        const { rewards, costs } = await opened.scorer.score(answers(["q"], ["four"]));
        await opened.close();
        return [rewards[0], costs[0], opened.scorer.sharesGpu ?? false];
      };
      assert.deepEqual(await judgedBy(own), [-4, 0, false]);
      assert.deepEqual(await judgedBy(missing, given), [1, 2, false]);
      assert.deepEqual(await judgedBy(own, given), [-3, 2, false], "both add up");
    }));
});
