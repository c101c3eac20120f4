/** What decoding and training compute are the same bits by a GPU's kernels too, which a CPU compiles for minutes. */
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { describeDecodingAndTraining } from "../gpu/decoding_and_training.ts";

describeDecodingAndTraining([["a GPU's", withGpuLanes]]);
