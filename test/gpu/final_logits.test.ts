/** Logits that a model divides and bounds: those that are sampled from are those that are trained on. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { randomFloats, randomInts } from "../cases/case.ts";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { finalLogits } from "../../src/ops/head/final_logits.ts";
import { lmHeadLogprobs } from "../../src/ops/head/lm_head_logprobs.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import { tokenLogprobs } from "../../src/ops/head/token_logprobs.ts";
import { caseOperands } from "../cases/operands.ts";
import { lmHeadCase } from "../cases/head/lm_head_logprobs.ts";

const [ROWS, WIDTH, VOCAB] = [9, 12, 37];

describe("final logits", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const options of [{ softcap: 0.5, divisor: 2 }, { softcap: 3 }, { divisor: 0.25 }, {}]) {
    it(`give a policy's log-probs and those of what it samples from alike: ${JSON.stringify(options)}`, async () => {
      const { tensors: { h, tokens }, weights: { head } } = caseOperands(
        lmHeadCase(ROWS, WIDTH, VOCAB, { chunkRows: 64 }),
      );
      const [trained] = lmHeadLogprobs(h, head, tokens, { temperature: 0.7, chunkRows: 64, ...options });
      const sampled = finalLogits(linear(h, head, { rows: "few" }), options);
      const [expected] = tokenLogprobs(sampled, tokens, { temperature: 0.7 });
      const [a, b] = [await readFloats(trained), await readFloats(expected)];
      // A few roundings of sums of 37 terms.
      a.forEach((value, m) => assert.ok(Math.abs(value - b[m]) < 2e-6, `${m}: ${value}, ${b[m]}`));
    });
  }

  it("are made again when a recorded plan is replayed", async () => {
    const x = uploadTensor(Float32Array.from(randomFloats(1, 64, 9)), [4, 16]);
    const made: { y?: Tensor } = {};
    const plan = recordPlan(() => void (made.y = tf.keep(finalLogits(x, { softcap: 4 }))));
    plan.replay();
    const direct = await readFloats(finalLogits(x, { softcap: 4 }));
    assert.deepEqual(await readFloats(made.y!), direct);
    assert.ok(direct.every((value) => Math.abs(value) < 4));
  });

  it("are refused where softcap or divisor cannot be", () => {
    const x = tf.zeros([2, 4]);
    const tokens = tf.tensor1d(randomInts(1, 2, 4), "int32");
    for (const bad of [0, -1, NaN, Infinity]) {
      for (const options of [{ softcap: bad }, { divisor: bad }]) {
        assert.throws(() => finalLogits(x, options), /finite numbers above 0/);
        assert.throws(
          () => tokenLogprobs(x, tokens, { temperature: 1, ...options }),
          /finite numbers above 0/,
        );
      }
    }
  });
});
