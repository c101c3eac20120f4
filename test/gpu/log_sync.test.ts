/** What is on the disk when a checkpoint appears. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, before, describe, it, mock } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyRun } from "./tiny_run.ts";
import { leftOut } from "../left_out.ts";

// Deno binds an import of node:fs once; what is set on the module later is not seen through it.
const skip = "Deno" in globalThis &&
  leftOut(
    "a checkpoint is written when the log's rows are on the disk",
    "Deno's node:fs cannot be watched from outside",
  );

describe("a checkpoint", { skip }, () => {
  before(() => openGpu());
  after(closeGpu);

  it("is written when the log's rows up to its step are on the disk", () =>
    withScratchFolder(async (dir) => {
      const flushed: { lastStep: number; checkpoints: string[] }[] = [];
      const flush = mock.method(fs, "fsyncSync", () => {
        const rows = fs.readFileSync(join(dir, "metrics.jsonl"), "utf8").trimEnd().split("\n");
        const checkpoints = fs.readdirSync(dir).filter((name) => name.startsWith("checkpoint-"));
        flushed.push({ lastStep: JSON.parse(rows.at(-1)!).step, checkpoints });
      });
      syncBuiltinESMExports();
      try {
        const { error } = await tinyRun(dir, { settings: { max_steps: 2, save_steps: 1 } });
        assert.equal(error, null);
      } finally {
        flush.mock.restore();
        syncBuiltinESMExports();
      }
      assert.deepEqual(flushed, [
        { lastStep: 1, checkpoints: [] },
        { lastStep: 2, checkpoints: ["checkpoint-1"] },
        // At the end, for an evaluation that came after its checkpoint.
        { lastStep: 2, checkpoints: ["checkpoint-1", "checkpoint-2"] },
      ]);
    }));
});
