/** Plans for a GPU that is not here, of models that have no weights here. */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { planRun } from "../../src/assembly/memory.ts";
import { planTarget } from "../../src/assembly/named_gpus.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { ROOT } from "../unit/source_files.ts";

const LENGTHS = { longestPrompt: 20, longestEvalPrompt: 20, evalPrompts: 0 };

/** The plan of a run of the quickstart's policy with a changed config.json and no weights. */
async function planOf(changes: Record<string, unknown>, settings: readonly string[] = [], gpu = "h100") {
  const text = await readFile(join(ROOT, "configs/quickstart.yaml"), "utf8");
  const json = JSON.parse(await readFile(join(ROOT, "models/quickstart/policy/config.json"), "utf8"));
  const { torch_dtype: _, ...rest } = json;
  let planned: Awaited<ReturnType<typeof planRun>> | undefined;
  await withScratchFolder(async (scratch) => {
    const dir = join(scratch, "model");
    await mkdir(dir);
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...rest, ...changes }));
    const overrides = [
      `model_name=${JSON.stringify(dir)}`,
      "scorer_url=http://127.0.0.1:9",
      "eval_jsonl=null",
    ];
    const [run] = sweepRuns(
      loadConfig({ text, fileName: "q.yaml" }, { overrides: [...overrides, ...settings] }),
    );
    planned = await planRun(run, LENGTHS, {}, { target: planTarget(gpu) });
  });
  return planned!;
}

const weightsIn = ({ plan }: Awaited<ReturnType<typeof planOf>>) =>
  plan.parts.find(({ name }) => name === "weights")!.bytes;

describe("a plan for a GPU that is not here", () => {
  before(openGpu);
  after(closeGpu);

  it("holds frozen weights in the type that config.json says, in either spelling", async () => {
    const frozen = ["use_peft=true"];
    const wide = weightsIn(await planOf({ dtype: "float32" }, frozen));
    for (const changes of [{ dtype: "bfloat16" }, { torch_dtype: "float16" }]) {
      const narrow = weightsIn(await planOf(changes, frozen));
      assert.ok(narrow < 0.6 * wide, `${narrow} of ${wide}`);
    }
  });

  it("binds what that GPU binds, and is measured against its memory", async () => {
    // Logits of a step of decoding: 64 rows of 600,000 values, more than a software GPU binds.
    const { plan, budget } = await planOf({ vocab_size: 600_000 });
    assert.ok(plan.peakBytes > 128 * 2 ** 20);
    assert.equal(budget!.bytes, planTarget("h100").budget.bytes);
    await assert.rejects(planOf({ vocab_size: 600_000 }, [], "1"), /and there are 1 GiB \(as given\)/);
  });
});
