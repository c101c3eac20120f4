/** Numbers that are none: in scores' wake, in gradients, in weights and in logits. Nothing is trained on or saved of them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats, writeTensor } from "../../src/gpu/tensors.ts";
import { disposePolicyWeights } from "../../src/policy/adapters.ts";
import { assertFiniteWeights } from "../../src/policy/nonfinite.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import {
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  PROMPTS,
  rowsIn,
  stepsOf,
  textScores,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

type Score = NonNullable<TinyRunOptions["score"]>;

/** Scores by text, but for one request: rewards of this size, of either sign. */
const rewardsOf = (size: number, at: number): Score => (request, completions) => {
  const scores = textScores(completions);
  if (request !== at) return scores;
  return { ...scores, rewards: completions.map((_, i) => i % 2 === 0 ? size : -size) };
};

const studied = (dir: string, file: string): Record<string, unknown>[] =>
  readFileSync(join(dir, "nonfinite", file), "utf8").trim().split("\n").map((line) => JSON.parse(line));

/** Weights and optimizer of a checkpoint, as bytes. */
const stateOf = (dir: string, step: number) =>
  ["model.safetensors", "optimizer.safetensors"].map((name) =>
    readFileSync(join(dir, `checkpoint-${step}`, name))
  );

// f32 ends at 3.4e38. Rewards beyond it make advantages, and with them the loss, NaN. Rewards of 1e28 leave the loss
// finite, and only the squares of the gradient, which its norm sums, are beyond it.
const KINDS: [string, number, RegExp][] = [
  ["the loss", 1e39, /the loss is NaN/],
  ["the gradient norm", 1e28, /the gradient norm is Infinity/],
];

describe("a step that is not finite", () => {
  for (const [what, size, found] of KINDS) {
    it(`by ${what} is skipped: weights and moments stay to the bit, it is counted, and the run goes on`, () =>
      withScratchFolder(async (dir) => {
        const run = await tinyRun(dir, { settings: { scale_rewards: "none" }, score: rewardsOf(size, 2) });
        assert.equal(run.error, null);
        assert.deepEqual(stateOf(dir, 2), stateOf(dir, 1));
        assert.notDeepEqual(stateOf(dir, 3), stateOf(dir, 2));
        const rows = rowsIn(dir);
        assert.deepEqual(rows.map(({ nonfinite_steps }) => nonfinite_steps), [
          undefined,
          1,
          undefined,
          undefined,
        ]);
        assert.deepEqual(rows.map(({ loss, grad_norm }) => [loss, grad_norm].every(Number.isFinite)), [
          true,
          false,
          true,
          true,
        ]);
        assert.deepEqual([rows[1].loss, rows[1].grad_norm, rows[1].kl], [undefined, undefined, undefined]);
        assert.ok(rows.every(({ learning_rate }) => learning_rate !== undefined));
        assert.match(
          run.messages.join(),
          /Skipped step 2: .*; 1 in a row, the run stops at 3 \(max_nonfinite/,
        );
        assert.match(run.messages.join(), found);
      }));
  }

  it("by its loss alone is skipped too: where the policy is so sure that the gradient is 0", () =>
    withScratchFolder(async (dir) => {
      const policy = await tinyPolicy("float32");
      const { tensor } = policy.weights.head;
      writeTensor(tensor, (await readFloats(tensor)).map((value) => 3e5 * value));
      const before = await readFloats(tensor);
      const run = await tinyRun(dir, {
        makePolicy: () => Promise.resolve(policy),
        settings: { beta: 0, scale_rewards: "none", max_steps: 1, save_steps: 0, weight_decay: 0.1 },
        score: rewardsOf(1.6e38, 1),
        onEnd: async () => assert.deepEqual(await readFloats(tensor), before),
      });
      assert.equal(run.error, null);
      assert.deepEqual(rowsIn(dir).map(({ nonfinite_steps, loss }) => [nonfinite_steps, loss]), [[
        1,
        undefined,
      ]]);
    }));

  it("among several of a generation batch leaves the means to those that were made", () =>
    withScratchFolder(async (dir) => {
      // Eight completions in four steps; those of one group, in one step or two, are beyond f32.
      const settings = {
        steps_per_generation: 4,
        max_steps: 4,
        per_device_train_batch_size: 2,
        save_steps: 0,
      };
      const run = await tinyRun(dir, {
        settings: { ...settings, scale_rewards: "none", num_generations: 2 },
        score(_, completions) {
          const scores = textScores(completions);
          return { ...scores, rewards: scores.rewards.map((reward, i) => i === 0 ? 1e39 : reward) };
        },
      });
      assert.equal(run.error, null);
      const [row] = rowsIn(dir);
      assert.ok([1, 2].includes(row.nonfinite_steps!), `${row.nonfinite_steps}`);
      assert.ok(Number.isFinite(row.loss) && Number.isFinite(row.grad_norm), `${row.loss} ${row.grad_norm}`);
    }));
});

describe("a run that diverges", () => {
  /** Rewards beyond f32 from a request on. */
  const from = (size: number, at: number): Score => (request, completions) =>
    rewardsOf(size, request < at ? 0 : request)(request, completions);

  it("ends after so many steps in a row, saved, with its last batch written down and a way on that can be gone", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 2, scale_rewards: "none" as const, max_nonfinite_steps: 2 };
      const run = await tinyRun(dir, { settings, score: from(1e39, 2), evaluate: evaluation });
      assert.match(
        run.error!.message,
        /^Training diverged at step 3: the loss is NaN, and so were 2 steps in a row skip/,
      );
      assert.match(
        run.error!.message,
        /Go on with --set learning_rate=0\.001, or a smaller max_grad_norm\. /,
      );
      assert.ok(
        run.error!.message.includes(
          `The newest whole checkpoint is '${join(dir, "checkpoint-3")}': the same command`,
        ),
        run.error!.message,
      );
      assert.deepEqual([checkpointsIn(dir), finalWeightsIn(dir)], [[2, 3], []]);
      assert.deepEqual(stateOf(dir, 3), stateOf(dir, 2));
      const batch = studied(dir, "step-3.jsonl");
      assert.equal(batch.length, 4);
      for (const { prompt, completion, token_ids, prompt_ids, reward, advantage, loss } of batch) {
        assert.equal(completion, (token_ids as number[]).map((id) => `t${id}`).join(" "));
        assert.ok(PROMPTS.some((each) => each.user === prompt && String(each.ids) === String(prompt_ids)));
        assert.equal(Math.abs(reward as number), 1e39);
        assert.equal(Math.abs(advantage as number), 1e39);
        assert.equal(loss, "NaN");
      }
      const rest = await tinyRun(dir, { settings });
      assert.deepEqual([rest.error, stepsOf(rest.events)], [null, [4]]);
    }));

  it("in several optimizer steps of a generation batch names the step, and counts on from the batch before", () =>
    withScratchFolder(async (dir) => {
      const settings = { steps_per_generation: 2, num_iterations: 2, max_steps: 12, save_steps: 0 };
      const run = await tinyRun(dir, {
        settings: { ...settings, max_nonfinite_steps: 6 },
        score: from(1e39, 2),
      });
      assert.match(run.error!.message, /^Training diverged at step 10: .*6 steps in a row skipped/);
      assert.deepEqual(checkpointsIn(dir), [12]);
    }));

  it("never says that a checkpoint is good which is not", () =>
    withScratchFolder(async (dir) => {
      const settings = { max_nonfinite_steps: 1 };
      const run = await tinyRun(dir, {
        settings,
        score: from(1e39, 3),
        onStep: ({ step }) => step === 3 && truncateSync(join(dir, "checkpoint-2", "model.safetensors"), 100),
      });
      assert.match(run.error!.message, /The newest whole checkpoint is '.*checkpoint-3'/);
      truncateSync(join(dir, "checkpoint-3", "model.safetensors"), 100);
      const again = await tinyRun(dir, { settings, score: from(1e39, 1), stopAfter: 9 });
      assert.match(again.error!.message, /^Training diverged at step 2: /);
    }));
});

describe("weights that are no numbers", () => {
  const NAN_TOKEN = 5;
  /** A policy one of whose values is NaN. */
  const broken = async (name: RegExp, dtype: "float32" | "bfloat16" = "float32") => {
    const policy = await tinyPolicy(dtype);
    const weight = listWeights(policy.weights).find((weight) => name.test(weight.name))!;
    const words = weight.format === "f32" ? Float32Array.of(NaN) : Uint32Array.of(0x7f80_0000);
    writeTensor(weight.tensor, words, 4 * NAN_TOKEN);
    return policy;
  };

  it("give no completions: a run that begins with them says so, and where, and saves nothing", () =>
    withScratchFolder(async (dir) => {
      const run = await tinyRun(dir, {
        makePolicy: () => broken(/norm\.weight$/),
        settings: { save_steps: 1 },
      });
      assert.match(
        run.error!.message,
        /^The policy's logits are NaN or infinite where token 1 of completion \d of prompt/,
      );
      assert.match(
        run.error!.message,
        /There is no checkpoint: start over with another model_name or dtype$/,
      );
      assert.deepEqual([checkpointsIn(dir), stepsOf(run.events)], [[], []]);
    }));

  for (const dtype of ["float32", "bfloat16"] as const) {
    it(`are found in ${dtype} by name, count and place, and only they`, async () => {
      const policy = await broken(/embed_tokens/, dtype);
      const weights = listWeights(policy.weights);
      const place = dtype === "float32" ? NAN_TOKEN : 2 * NAN_TOKEN + 1;
      const columns = policy.config.hiddenSize;
      await assert.rejects(
        assertFiniteWeights(weights, "here", "go"),
        new RegExp(
          `^NonfinitePolicyError: here: finite values are required, tensor "[a-z._]*embed_tokens.weight" \\[\\d+,\\d+\\] ` +
            `holds 1, the first at \\[${Math.floor(place / columns)},${
              place % columns
            }\\] NaN or infinite; go$`,
        ),
      );
      await assertFiniteWeights(weights.filter(({ name }) => !/embed_tokens/.test(name)), "here", "go");
      disposePolicyWeights(policy);
      disposeTrunk(policy);
    });
  }

  /** A run after whose third step a value of the policy is another. */
  async function spoiledRun(dir: string, value: number) {
    const policy = await tinyPolicy("float32");
    const { tensor } = policy.weights.norm;
    return await tinyRun(dir, {
      settings: { save_total_limit: 1 },
      makePolicy: () => Promise.resolve(policy),
      onStep: ({ step }) => step === 3 && writeTensor(tensor, new Float32Array(32).fill(value)),
    });
  }

  it("are not saved, and push no good checkpoint out: that is named as what to go on from", () =>
    withScratchFolder(async (dir) => {
      const { error } = await spoiledRun(dir, NaN);
      assert.match(
        error!.message,
        /^Step 3 is not saved: finite values .*"model.norm.weight" \[32\] holds 32, the first at \[0\]/,
      );
      assert.match(
        error!.message,
        /The newest whole checkpoint is '.*checkpoint-2', of an earlier step: go on from it with --set learning_rate=0\.001$/,
      );
      assert.deepEqual([checkpointsIn(dir), finalWeightsIn(dir)], [[2], []]);
    }));

  it("that overflow only in use are in a checkpoint, which is then said to hold them", () =>
    withScratchFolder(async (dir) => {
      const { error } = await spoiledRun(dir, 3e38);
      assert.match(error!.message, /^The policy's logits are NaN or infinite where token/);
      assert.match(
        error!.message,
        /checkpoint-3', which holds these very weights: remove it, and go on from one before/,
      );
    }));

  it("in a checkpoint are found when it is resumed from, by its name", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { stopAfter: 1 });
      const path = join(dir, "checkpoint-1", "model.safetensors");
      const bytes = readFileSync(path);
      bytes.writeFloatLE(NaN, bytes.length - 4);
      writeFileSync(path, bytes);
      const manifest = join(dir, "checkpoint-1", "checkpoint_manifest.json");
      const listed = JSON.parse(readFileSync(manifest, "utf8"));
      for (const file of listed.files) {
        if (file.name === "model.safetensors") file.sha256 = createHash("sha256").update(bytes).digest("hex");
      }
      writeFileSync(manifest, JSON.stringify(listed));
      const { error } = await tinyRun(dir);
      assert.match(
        error!.message,
        /checkpoint-1: finite values are required, tensor ".*" .* holds 1, .*; remove it, and/,
      );
    }));
});
