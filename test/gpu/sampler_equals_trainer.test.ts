/** What decoding and training compute are the same bits; a GPU's kernels: test/gpu_variants/sampler_equals_trainer.test.ts. */
import { withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { describeDecodingAndTraining } from "./decoding_and_training.ts";

describeDecodingAndTraining([["the device's", (body) => body()], ["plain", withPlainKernels]]);
