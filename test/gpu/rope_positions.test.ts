/** Rope tables reach as far as a run's sequences do, not as far as the model could go. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { loadPolicy as loadWhole } from "../../src/assembly/models.ts";
import { longestSequence } from "../../src/assembly/prompts.ts";
import { assembleRun } from "../../src/assembly/run.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { countBuffers } from "../../src/gpu/memory.ts";
import { loadPolicy } from "../../src/library/policy.ts";
import { disposePolicyWeights } from "../../src/policy/adapters.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { coverPositions, disposeTrunk, makeTrunk } from "../../src/policy/transformer.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { loadScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { FAMILIES, familySource, tinyConfigOf } from "./family_policies.ts";
import { TINY_CONFIG, tinySource } from "./tiny_policy.ts";

const SEQUENCE = [1, 60, 3, 3, 8, 21, 40, 12, 44, 31];
const POSITIONS = 131072;
const MIB = 2 ** 20;

before(async () => void await openGpu());
after(closeGpu);

/** A tiny model, a Llama unless named, with tables of so many positions. */
async function policyOf(mostPositions: number, family = "Llama with biases"): Promise<Policy> {
  const config = tinyConfigOf(FAMILIES[family]);
  return makeTrunk(config, await loadPolicyWeights(familySource(config), config, "frozen"), mostPositions);
}

const rowsOf = ({ layers }: Policy) => layers.map(({ rope }) => rope.cos.shape[0]);

const OPTIONS = { temperature: 1, topP: 1, topK: 0, eosIds: [], maxTokens: 4, readbackEvery: 4 };

/** Folder of the embedded policy, as of a model that goes on for very long. */
function longModel(folder: string): string {
  const dir = join(folder, "model");
  cpSync(new URL("../../models/quickstart/policy", import.meta.url), dir, { recursive: true });
  const path = join(dir, "config.json");
  const json = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...json, max_position_embeddings: POSITIONS }));
  return dir;
}

describe("rope tables of few positions", () => {
  for (const family of ["Llama with biases", "Phi-3", "Gemma 3"]) {
    it(`${family}: give the bits of tables of all positions, and so do longer ones in their place`, async () => {
      const whole = await logitsOf(await policyOf(TINY_CONFIG.max_position_embeddings, family), [SEQUENCE]);
      const few = await policyOf(SEQUENCE.length, family);
      assert.deepEqual(rowsOf(few), [10, 10]);
      assert.deepEqual(await logitsOf(few, [SEQUENCE]), whole);
      const shorter = await policyOf(4, family);
      tf.dispose(coverPositions(shorter, SEQUENCE.length));
      assert.deepEqual(rowsOf(shorter), [10, 10]);
      assert.deepEqual(await logitsOf(shorter, [SEQUENCE]), whole);
    });
  }

  it("at least double where they are too short, up to the model's, and stay where they are not", async () => {
    const policy = await policyOf(10);
    const grown = (positions: number) => {
      const outgrown = coverPositions(policy, positions);
      tf.dispose(outgrown);
      return [outgrown.length, policy.positions, ...rowsOf(policy)];
    };
    assert.deepEqual(grown(10), [0, 10, 10, 10]);
    assert.deepEqual(grown(11), [2, 20, 20, 20]);
    assert.deepEqual(grown(61), [2, 61, 61, 61]);
    assert.deepEqual(grown(65), [2, 64, 64, 64]);
    assert.deepEqual(grown(66), [0, 64, 64, 64]);
  });

  it("leave a generator that is at work the tables it began with", async () => {
    const policy = await policyOf(SEQUENCE.length + 8);
    const request = { prompts: [SEQUENCE], groupSize: 2, seed: 3, step: 1 };
    const generator = createGenerator(policy, { ...OPTIONS, maxTokens: 8, readbackEvery: 2 });
    const before = await generator.generate(request);
    let outgrown: tf.Tensor[] = [];
    const meanwhile = await generator.generate({
      ...request,
      onProgress: ({ longest }) => {
        if (longest < 6) outgrown = [...outgrown, ...coverPositions(policy, 40)];
      },
    });
    assert.equal(outgrown.length, 2);
    assert.deepEqual(meanwhile, before);
    generator.dispose();
    tf.dispose(outgrown);
  });

  it("are used to the last position; a sequence of one token more is refused", async () => {
    const policy = await policyOf(12);
    const generate = (length: number) =>
      createGenerator(policy, OPTIONS)
        .generate({ prompts: [SEQUENCE.slice(0, length)], groupSize: 1, seed: 3, step: 1 });
    assert.equal((await generate(8))[0].tokens.length, 4);
    await assert.rejects(generate(9), {
      name: "RangeError",
      message: /4 tokens after a prompt of 9: the model was loaded for sequences of 12/,
    });
    const trunk = tinySource();
    const source = hostSource({
      path: "tiny score model",
      shapeOf: (name) =>
        name === "score_head.weight"
          ? [1, TINY_CONFIG.hidden_size]
          : name.startsWith("model.")
          ? trunk.shapeOf(name)
          : undefined,
      read: (name) =>
        name === "score_head.weight"
          ? Promise.resolve(new Float32Array(TINY_CONFIG.hidden_size).fill(1))
          : trunk.read(name),
    });
    const config = parseScoreConfig(JSON.stringify(TINY_CONFIG), "tiny");
    const [few, whole] = [
      await loadScoreModel(source, config, { mostPositions: 9 }),
      await loadScoreModel(source, config),
    ];
    const text = SEQUENCE.slice(0, 9);
    assert.deepEqual(await scoreSequences(few, [text]), await scoreSequences(whole, [text]));
    await assert.rejects(scoreSequences(few, [SEQUENCE]), {
      name: "RangeError",
      message: /a text of 10 tokens: the model was loaded for up to 9/,
    });
  });
});

describe("a model of 131072 positions", () => {
  it("is planned and trained with tables of what its run can need", () =>
    withScratchFolder(async (folder) => {
      const lengths = { longestPrompt: 30, longestEvalPrompt: 40, evalPrompts: 2 };
      assert.equal(longestSequence(lengths, { max_completion_length: 8 }), 48);
      const config: RunConfig = {
        ...defaultConfig(),
        beta: 0.02,
        model_name: longModel(folder),
        output_dir: join(folder, "out"),
        eval_jsonl: null,
        num_generations: 2,
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 1,
        max_completion_length: 8,
        max_steps: 2,
      };
      const scorer = {
        score: (answers: readonly unknown[]) =>
          Promise.resolve({ rewards: answers.map((_, i) => i), costs: answers.map(() => 0) }),
      };
      const memory = countBuffers(tfjsBackend().device);
      const run = await assembleRun(config, { scorer });
      const { parts, peakBytes } = run.facts.memory.plan;
      // All positions would take 8 MiB; the weights take 0.8.
      assert.ok(parts.find(({ name }) => name === "weights")!.bytes < MIB);
      const silent = { onStart() {}, onStep() {}, onEvaluation() {}, onMessage() {} };
      assert.ok((await run.train(silent)).finished);
      assert.ok(memory().peakBytes <= peakBytes, `${memory().peakBytes} bytes of ${peakBytes} planned`);
      await run.close();
    }));

  it("is loaded by the library for few, and completes and judges a longer prompt as with all of them", () =>
    withScratchFolder(async (folder) => {
      const dir = longModel(folder);
      const { memory } = await openGpu();
      const before = memory().liveBytes;
      const policy = await loadPolicy(dir);
      assert.ok(memory().liveBytes - before < 2 * MIB);
      const settings = { max_prompt_length: 3000, max_completion_length: 4 };
      const prompt = "saw the board ".repeat(700);
      const [{ tokens }] = await policy.generate([prompt], settings);
      const { logprobs } = await policy.logprobs(prompt, tokens);
      await assert.rejects(policy.logprobs(prompt, new Array(POSITIONS).fill(5)), {
        name: "RangeError",
        message: /positions, and the model has 131072/,
      });
      policy.dispose();

      const { policy: whole, tokenizer } = await loadWhole(dir, "frozen");
      assert.equal(whole.positions, POSITIONS);
      const text = `BEGINNING OF CONVERSATION: USER: ${prompt} ASSISTANT:`;
      assert.ok(tokenizer.encode(text).length > 2048, "past the tables it was loaded with");
      assert.equal(logprobs.length, tokens.length);
      const again = await loadPolicy(dir);
      assert.deepEqual((await again.generate([prompt, "Why?"], settings))[0].tokens, tokens);
      again.dispose();
      disposePolicyWeights(whole);
      disposeTrunk(whole);
    }));
});
