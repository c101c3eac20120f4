/** Whole runs by low-rank noise: the same bits however members are batched, over ranks, and from the replay log. */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { assertSameRun, rowsIn, stepsOf, tinyRun, type TinyRunOptions } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

/** Four members answer three prompts. */
const LOW_RANK: Partial<RunConfig> = {
  algorithm: "es",
  es_rank: 2,
  es_noise: "antithetic",
  es_population_size: 4,
  es_batch_size: 3,
  es_sigma: 0.1,
  es_alpha: 0.1,
  max_steps: 3,
  save_steps: 0,
  scorer_batch_size: 3,
};

const run = async (dir: string, options: TinyRunOptions = {}) =>
  await tinyRun(dir, {
    makePolicy: () => tinyPolicy("perturbed"),
    ...options,
    settings: { ...LOW_RANK, ...options.settings },
  });

const weightsIn = (dir: string) => readFileSync(join(dir, "model.safetensors"));

describe("a run by low-rank noise", () => {
  it("moves the policy, leaks nothing, and is another run than one of full rank or of another rank", () =>
    withScratchFolder(async (dir) => {
      const low = await run(join(dir, "low"));
      assert.equal(low.error, null);
      assert.equal(low.leakedTensors, 0);
      await run(join(dir, "one"), { settings: { es_rank: 1 } });
      await run(join(dir, "full"), { settings: { es_rank: null } });
      const files = ["low", "one", "full"].map((name) => weightsIn(join(dir, name)).toString("hex"));
      assert.equal(new Set(files).size, 3);
    }));

  it("has the same rows and weights however many members decode at once", () =>
    withScratchFolder(async (dir) => {
      await run(join(dir, "all"));
      for (const es_members_at_once of [1, 3]) {
        const some = join(dir, `${es_members_at_once}`);
        assert.equal((await run(some, { settings: { es_members_at_once } })).error, null);
        assert.deepEqual(rowsIn(some), rowsIn(join(dir, "all")));
        assert.ok(weightsIn(some).equals(weightsIn(join(dir, "all"))));
      }
    }));

  it("three ranks, of which one has fewer members, end with the bits of one", () =>
    withScratchFolder(async (dir) => {
      const settings = { check_ranks_every: 1 };
      await run(join(dir, "one"), { settings });
      const runs = await Promise.all(
        inProcessRanks(3).map((communicator) => run(join(dir, "three"), { settings, communicator })),
      );
      assert.deepEqual(runs.map(({ error }) => error), [null, null, null]);
      assert.deepEqual(rowsIn(join(dir, "three")), rowsIn(join(dir, "one")));
      assert.ok(weightsIn(join(dir, "three")).equals(weightsIn(join(dir, "one"))));
    }));

  it("killed without any checkpoint, it goes on from seeds and coefficients to the bit", () =>
    withScratchFolder(async (dir) => {
      await run(join(dir, "whole"));
      const broken = join(dir, "broken");
      await run(broken, { stopAfter: 2 });
      rmSync(join(broken, "checkpoint-2"), { recursive: true });
      const second = await run(broken);
      assert.equal(second.error, null);
      assert.deepEqual(stepsOf(second.events), [3]);
      assertSameRun(broken, join(dir, "whole"));
    }));

  it("does not go on with another rank", () =>
    withScratchFolder(async (dir) => {
      await run(dir, { stopAfter: 1 });
      const { error } = await run(dir, { settings: { es_rank: 1 } });
      assert.match(error!.message, /es_rank: checkpoint 2, now 1/);
    }));
});
