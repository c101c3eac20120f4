/** The commits of a run that is resumed: read from what it wrote down, where that can be read. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { hubSettings, modelPins } from "../../src/assembly/hub.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const [SAVED, NEWEST] = ["1".repeat(40), "2".repeat(40)];
const KEYS = ["model_name", "reward_model", "cost_model"] as const;

/** The commits that a run gets, in a folder whose run_config.json holds this text. */
async function commitsWith(text: string): Promise<string[]> {
  const overrides = KEYS.map((key) => `${key}=org/${key}`);
  const [run] = sweepRuns(loadConfig({ text: "seed: 1", fileName: "test.yaml" }, { overrides }));
  const resolve = (name: string) =>
    Promise.resolve({ name: name.includes("@") ? name : `${name}@${NEWEST}`, dir: "" });
  let commits: string[] = [];
  await withScratchFolder(async (runDir) => {
    await writeFile(join(runDir, "run_config.json"), text);
    const pinned = await modelPins(resolve)(run, runDir);
    commits = KEYS.map((key) => pinned[key].split("@")[1]);
  });
  return commits;
}

it("every model of a resumed run keeps its commit", async () => {
  const saved = Object.fromEntries(KEYS.map((key) => [key, `org/${key}@${SAVED}`]));
  assert.deepEqual(await commitsWith(JSON.stringify(saved)), [SAVED, SAVED, SAVED]);
  const { cost_model } = saved;
  assert.deepEqual(await commitsWith(JSON.stringify({ cost_model })), [NEWEST, NEWEST, SAVED]);
});

it("a run_config.json that is torn or holds something else keeps no run from starting", async () => {
  for (const text of ["null", "[]", "7", '{"model_name": 7, "reward_model": null}', '{"model_na', ""]) {
    assert.deepEqual(await commitsWith(text), [NEWEST, NEWEST, NEWEST], text);
  }
});

it("the token of a login is read where HF_TOKEN_PATH says", () =>
  withScratchFolder(async (home) => {
    const path = join(home, "elsewhere");
    await writeFile(path, "hf_elsewhere\n");
    assert.equal((await hubSettings({ HF_HOME: home, HF_TOKEN_PATH: path })).token, "hf_elsewhere");
  }));
