/** Log-probs of the sampler that are not the trainer's, corrections that correct nothing, precisions of another device. */
import type { Fault } from "../fault.ts";

const LOGPROBS = "gpu/sampler_logprobs.test.ts";
const METRIC = "gpu/sampler_metric.test.ts";
const WEIGHTS = "unit/sampler_weights.test.ts";
const PRECISION = "unit/precision.test.ts";

const effect = (key: string) => `e2e/config_effects.test.ts#${key}=`;

export const faults: readonly Fault[] = [
  {
    file: "src/ops/head/token_logprobs.ts",
    find: "hasNarrowSubgroups() ? 8 :",
    replace: "hasNarrowSubgroups() && VEC4 ? 8 :",
    harm:
      "with a vocabulary of odd size sampler and trainer sum in different orders, and never agree to the bit",
    tests: [`${LOGPROBS}#of a row`],
  },
  {
    file: "src/policy/decode/lane.ts",
    find: "decode.nextToken, options.temperature)",
    replace: "decode.nextToken, 1)",
    harm: "the sampler's log-probs are of temperature 1, and every ratio is wrong",
    tests: [LOGPROBS],
  },
  {
    file: "src/policy/decode/lane.ts",
    find: "rowOf ? tf.gather(product_LV, rowOf) : product_LV",
    replace: "product_LV",
    harm: "the log-prob of a completion's first token is another prompt's",
    tests: [LOGPROBS],
  },
  {
    file: "src/policy/transformer.ts",
    find: "{ temperature, ...finalOptions(config) })[0]",
    replace: "{ temperature })[0]",
    harm: "of a model that bounds or divides its logits the sampler's log-probs are of others",
    tests: [`${LOGPROBS}#divides`],
  },
  {
    file: "src/policy/decode/generate.ts",
    find: "logprobs: sampled.logprobs && logprobs.slice(0, length)",
    replace: "logprobs: sampled.logprobs && logprobs",
    harm: "log-probs of tokens behind a stop string go to the completions after it",
    tests: [`${LOGPROBS}#stop strings`],
  },
  {
    file: "src/train/prepared_update.ts",
    find: "    m += logprobs.length;\n",
    replace: "",
    harm: "in a micro-batch of several completions each is held against the last one's log-probs",
    tests: [METRIC],
  },
  {
    file: "src/train/passes.ts",
    find: "corrects ? held.weights : null",
    replace: "held.weights",
    harm: "importance_sampling_correction=false corrects all the same",
    tests: [`${METRIC}#rounded`, effect("importance_sampling_correction")],
    claim: 4,
  },
  {
    file: "src/train/passes.ts",
    find: "corrects ? held.weights : null",
    replace: "null",
    harm: "nothing is corrected, and the ratios are logged",
    tests: [`${METRIC}#rounded`, effect("importance_sampling_correction")],
    claim: 4,
  },
  {
    file: "src/train/passes.ts",
    find: "const trainer = oldLogprobs ?? logprobs;",
    replace: "const trainer = logprobs;",
    harm: "from the second step of a batch on the policy as it has become is held against the sampler",
    tests: [`${METRIC}#several steps`],
  },
  {
    file: "src/ops/loss/sampler_weights.ts",
    find: "SEQUENCE: isOfSequence(mode) ? 1 : 0",
    replace: "SEQUENCE: 0",
    harm: "importance_sampling_mode=sequence_... weighs tokens one by one",
    tests: ["gpu/ops.test.ts#sampler_weights"],
    claim: 4,
  },
  {
    file: "kernels/loss/sampler_weights.wgsl",
    find: "for (var i = begin + lane; i < params.tokens; i += WG) { weights[i] = 1.0; }",
    replace: "",
    harm: "weights of spare tokens are what was in memory",
    tests: ["gpu/ops.test.ts#sampler_weights"],
    claim: 7,
  },
  {
    file: "kernels/loss/sampler_weights.wgsl",
    find: "select(0.0, ratio, bounded == ratio)",
    replace: "select(0.0, ratio, ratio < params.high)",
    harm: "a mask leaves ratios below its lower bound in the loss",
    tests: ["gpu/ops.test.ts#sampler_weights"],
  },
  {
    file: "kernels/lib/grpo.wgsl",
    find: "select(term * weight, term, weight == 1.0)",
    replace: "term",
    harm: "the loss ignores the weights that it is given",
    tests: ["gpu/ops.test.ts#grpo_loss"],
  },
  {
    file: "kernels/loss/grpo_loss_grad.wgsl",
    find: "select(weight_of(i), mean_weight, LEVEL == 1u && TERM != CISPO && TERM != VESPO)",
    replace: "weight_of(i)",
    harm: "with importance_sampling_level=sequence the gradient is not that of the corrected loss",
    tests: ["gpu/ops.test.ts#grpo_loss"],
  },
  {
    file: "src/rl/sampler_weights.ts",
    find: 'differenceMax: Math.max(...each("differenceMax")),',
    replace: 'differenceMax: mean("differenceMax"),',
    harm: "of several steps the largest difference is a mean, which hides a step that is off",
    tests: [WEIGHTS],
  },
  {
    file: "src/train/sampler_warning.ts",
    find: "let isDue = !isQuiet;",
    replace: "let isDue = isQuiet;",
    harm: "a sampler that is off is passed over in silence, and one that rounds is complained of",
    tests: [WEIGHTS],
  },
  {
    file: "src/policy/precision.ts",
    find: "hasMatrices && !isSoftware",
    replace: "hasMatrices",
    harm: "a CPU that emulates matrix units rounds to 16 bits, and trains other bits than before",
    tests: [PRECISION],
  },
  {
    file: "src/policy/precision.ts",
    find: 'kvCacheDtypeOf(config, device) !== "float32" || ',
    replace: "",
    harm: "a rounded cache alone is not corrected for",
    tests: [PRECISION, `${METRIC}#rounded`],
  },
  {
    file: "src/assembly/run.ts",
    find: "const wanted = settledPrecision(given);",
    replace: "const wanted = { ...given, matmul_precision: settledPrecision(given).matmul_precision };",
    harm: "run_config.json says auto, and a run that goes on elsewhere mixes precisions unnoticed",
    tests: ["gpu/assembled_run.test.ts"],
  },
  {
    file: "src/assembly/evaluation.ts",
    find: "setMatmulPrecision(matmulPrecisionOf(config));",
    replace: 'setMatmulPrecision("float32");',
    harm: "eval multiplies in another precision than the run it is compared with",
    tests: ["gpu/assembled_run.test.ts#multiplies"],
  },
];
