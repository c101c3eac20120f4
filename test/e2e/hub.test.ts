/** Training a model from a hub. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { COMMIT, startFakeHub } from "../chaos/fake_hub.ts";
import { inScratchFolder, metricRows, ROOT, RUN, runProgram, trainArgs } from "./program.ts";

const folder = join(ROOT, "models/quickstart/policy");
const files = Object.fromEntries(
  readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
);

it("a run keeps the commit it started with, in its config and when it goes on, from its checkpoint, after the hub moved", async () => {
  const hub = await startFakeHub(files);
  try {
    await inScratchFolder(async (scratch) => {
      Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: join(scratch, "cache") });
      const args = (steps: number, name: string) =>
        trainArgs(join(scratch, "out"), {
          model_name: name,
          max_steps: steps,
          lr_scheduler_type: "constant",
        });
      const first = await runProgram(args(1, "org/name"));
      assert.equal(first.code, 0, first.output);
      assert.match(first.output, /downloading org\/name/);
      const config = JSON.parse(readFileSync(join(scratch, "out", RUN, "run_config.json"), "utf8"));
      assert.equal(config.model_name, `org/name@${COMMIT}`);

      const metrics = () => readFileSync(join(scratch, "out", RUN, "metrics.jsonl"), "utf8");
      const before = metrics();

      hub.commit = "f".repeat(40);
      hub.requests.length = 0;
      const second = await runProgram(args(2, "org/name"));
      assert.equal(second.code, 0, second.output);
      assert.match(second.output, /^steps +2 to 2 \(resumed\)$/m);
      assert.ok(
        metrics().startsWith(before),
        "step 1 was not done again: its times are those of the first run",
      );
      assert.deepEqual(metricRows(join(scratch, "out", RUN)).map(({ step }) => step), [1, 2]);
      assert.deepEqual(hub.requests, [], "the commit is in the cache");

      const moved = await runProgram(args(3, "org/name@main"));
      assert.equal(moved.code, 1, moved.output);
      assert.match(moved.output, /Cannot resume .*model_name: checkpoint "org\/name@0123/);
    });
  } finally {
    delete process.env.HF_ENDPOINT;
    delete process.env.HF_HOME;
    await hub.close();
  }
});
