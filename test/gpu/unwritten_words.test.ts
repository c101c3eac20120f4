/**
 * No pass of a model reads a word that nobody wrote: with every tensor begun as NaNs, those inside recorded plans at
 * every replay, the results have the same bits.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { readFloats, readTensor, uploadTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { withGuardWords } from "../../src/gpu/test_modes.ts";
import { embedding } from "../../src/ops/embedding.ts";
import type { Weight } from "../../src/ops/weight.ts";
import { createGenerator } from "../../src/policy/generate.ts";
import type { KvCacheDtype } from "../../src/policy/kv_blocks.ts";
import { disposePasses, makePassReplays } from "../../src/policy/pass_replays.ts";
import { parseScoreConfig, loadScoreModel, scoreSequences } from "../../src/policy/score_model.ts";
import { type Holding, listWeights } from "../../src/policy/weights.ts";
import { sharePrompts, uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { createOptimizer, disposeOptimizer, optimizerStep } from "../../src/train/optimizer.ts";
import { backward, backwardPrompts, frozenLogprobs, type Learner, promptKeys } from "../../src/train/passes.ts";
import { uploadSequences } from "../../src/policy/llama.ts";
import { loadConfig } from "../../src/config/load.ts";
import { TINY_CONFIG, tinyPolicy, tinySource } from "./tiny_policy.ts";
