/** Faults of sliding windows, bounded scores and logits, and heads wider than 128. */
import type { Fault } from "../fault.ts";

const WINDOWS: readonly Fault[] = [
  {
    file: "kernels/attention/attention_window.wgsl",
    find: "max(bound.x, i + 1 - window)",
    replace: "max(bound.x, i - window)",
    harm: "a token sees one token more than the window of its model",
    tests: ["gpu/ops.test.ts#attention_window", "gpu/ops.test.ts#attention"],
  },
  {
    file: "kernels/attention/attention_window.wgsl",
    find: "min(bound.y, i + window)",
    replace: "bound.y",
    harm: "keys learn from queries that slid past them",
    tests: ["gpu/ops.test.ts#attention_window", "gpu/ops.test.ts#attention"],
  },
  {
    file: "kernels/attention/attention_window.wgsl",
    find: "max(window - 1 - (i - bound.x), 0)",
    replace: "max(window - (i - bound.x), 0)",
    harm: "a completion sees one token more of its prompt than if the prompt stood before it",
    tests: ["gpu/ops.test.ts#attention_window", "gpu/attention_prefix.test.ts"],
  },
  {
    file: "kernels/attention/attention_window.wgsl",
    find: "if (index >= params.rows) { return; }",
    replace: "if (index + 1u >= params.rows) { return; }",
    harm: "the last token of a batch has the range of whatever lay in memory",
    tests: ["gpu/ops.test.ts#attention_window"],
  },
  {
    file: "kernels/lib/attention_window.wgsl",
    find: "own.x > last_key",
    replace: "own.x >= last_key",
    harm: "the last tokens of a prompt learn nothing from some completions that see them",
    tests: ["gpu/ops.test.ts#attention"],
  },
  {
    file: "kernels/lib/attention_window.wgsl",
    find: "select(pair, own.y * per_query, own.x > last_key)",
    replace: "pair",
    harm: "backward goes through every completion for every token of its prompt, however short the window",
    tests: ["gpu/attention_window.test.ts"],
  },
  {
    file: "kernels/attention/attention_grad_kv.wgsl",
    find: "within(i + n, seen) & (own.rows >= vec4u(first_key(min(i + n, pairs.y - 1u) / sharing())))",
    replace: "within(i + n, seen)",
    harm: "on a GPU, tokens of a prompt learn from completions that slid past them",
    tests: ["gpu/plain_kernels.test.ts#attention"],
  },
  {
    file: "kernels/attention/attention_grad_kv_simd8.wgsl",
    find: " && row >= first_key(min(i + n, pairs.y - 1u) / sharing())",
    replace: "",
    harm: "on a software GPU, tokens of a prompt learn from completions that slid past them",
    tests: ["gpu/ops.test.ts#attention"],
  },
  {
    file: "kernels/attention/attention_grad_kv_narrow_simd8.wgsl",
    find: "sees(own, i) & (own_two(items, lane) >= vec2u(first_key(i)))",
    replace: "sees(own, i)",
    harm:
      "on a software GPU, tokens of a prompt learn from completions that slid past them, where heads are narrow",
    tests: ["gpu/ops.test.ts#attention"],
  },
  {
    file: "src/ops/attention/attention.ts",
    find: "if (window >= rows) return",
    replace: "if (window >= rows - 1) return",
    harm: "of the longest sequence the last token sees the first, past its window",
    tests: ["gpu/ops.test.ts#attention"],
  },
  {
    file: "src/ops/attention/attention.ts",
    find: "each && disposeInfo(each)",
    replace: "each && each",
    harm: "every layer that slides leaks memory, step after step",
    tests: ["gpu/attention_window.test.ts"],
  },
  {
    file: "kernels/lib/attention_decode.wgsl",
    find: "held - min(held, params.window)",
    replace: "0u",
    harm: "a model that was trained with a window samples without one",
    tests: ["gpu/ops.test.ts#attention_decode", "gpu/attention_decode.test.ts"],
  },
  {
    file: "kernels/lib/attention_decode.wgsl",
    find: "let first = (seen.x / SPLIT + split) * SPLIT;",
    replace: "let first = split * SPLIT;",
    harm: "a model with a window misses, far from the beginning, the last tokens it made",
    tests: ["gpu/ops.test.ts#attention_decode", "gpu/attention_decode.test.ts"],
  },
  {
    file: "src/ops/attention/attention_shape.ts",
    find: "window >= 1 && window % 1 === 0",
    replace: "window >= 0",
    harm: "a window of no tokens, or of half a one, gives numbers all the same",
    tests: ["gpu/attention_window.test.ts"],
  },
];

const SOFTCAPS: readonly Fault[] = [
  {
    file: "kernels/lib/softcap.wgsl",
    find: "far < 0.2);",
    replace: "far < 0.8);",
    harm: "bounded scores and logits are off by a thousandth where they begin to bend",
    tests: ["gpu/ops.test.ts#final_logits"],
  },
  {
    file: "kernels/lib/softcap.wgsl",
    find: "near, far < 0.2);",
    replace: "near, false);",
    harm: "small logits that are bounded lose half of their digits",
    tests: ["gpu/ops.test.ts#final_logits"],
  },
  {
    file: "kernels/lib/softcap.wgsl",
    find: "fma(-t, t, 1.0)",
    replace: "1.0",
    harm: "a model that bounds its scores learns as if they were not",
    tests: ["gpu/ops.test.ts#attention", "gpu/ops.test.ts#lm_head_logprobs"],
  },
  {
    file: "kernels/attention/attention_grad_kv.wgsl",
    find: "params.scale * slope_four(scores, params.softcap)",
    replace: "params.scale * vec4f(1.0)",
    harm: "on a GPU, keys of a model that bounds its scores learn as if they were not bounded",
    tests: ["gpu/plain_kernels.test.ts#attention"],
  },
  {
    file: "kernels/attention/attention_decode_simd8.wgsl",
    find: "let score = capped(total(dots[h]), params.softcap);",
    replace: "let score = total(dots[h]);",
    harm: "a model that bounds its scores samples as if they were not",
    tests: ["gpu/ops.test.ts#attention_decode", "gpu/attention_decode.test.ts"],
  },
  {
    file: "kernels/head/token_logprobs_grad.wgsl",
    find: "pull * params.factor * slope;",
    replace: "pull * slope;",
    harm: "a model that divides and bounds its logits learns too fast by the divisor",
    tests: ["gpu/ops.test.ts#token_logprobs", "gpu/ops.test.ts#lm_head_logprobs"],
  },
  {
    file: "src/ops/head/token_logprobs.ts",
    find: "scale: 1 / (temperature * divisor) }",
    replace: "scale: 1 / temperature }",
    harm: "a model that divides its logits is trained as if it did not, and sampled as it does",
    tests: ["gpu/ops.test.ts#token_logprobs", "gpu/final_logits.test.ts"],
  },
  {
    file: "src/ops/head/lm_head_logprobs.ts",
    find: "temperature, chunkRows, softcap, divisor };",
    replace: "temperature, chunkRows };",
    harm: "a model that bounds its logits is trained as if it did not, and sampled as it does",
    tests: ["gpu/ops.test.ts#lm_head_logprobs", "gpu/final_logits.test.ts"],
  },
  {
    file: "src/ops/head/final_logits.ts",
    find: "factor: 1 / divisor",
    replace: "factor: divisor",
    harm: "a model that divides its logits samples from others",
    tests: ["gpu/ops.test.ts#final_logits", "gpu/final_logits.test.ts"],
  },
  {
    file: "src/ops/head/final_logits.ts",
    find: "value > 0 && value < Infinity",
    replace: "value >= 0",
    harm: "a softcap of 0 makes of every logit no number",
    tests: ["gpu/final_logits.test.ts"],
  },
];

const WIDE_HEADS: readonly Fault[] = [
  {
    file: "src/ops/attention/attention_kernels.ts",
    find: "WIDE: headDim > SIMD8_HEAD_DIM",
    replace: "WIDE: false",
    harm: "on a software GPU, heads wider than 128 attend with part of their columns",
    tests: ["gpu/ops.test.ts#attention"],
  },
  {
    file: "src/ops/attention/attention_decode.ts",
    find: "HEADS * VECTORS > ROOM",
    replace: "HEADS * VECTORS > 2 * ROOM",
    harm: "on a software GPU, heads wider than 128 are decoded with part of their columns",
    tests: ["gpu/ops.test.ts#attention_decode"],
  },
];

/** Splits of keys, in which decoding and training add alike. */
const SPLITS: readonly Fault[] = [
  {
    file: "kernels/lib/attention_splits.wgsl",
    find: "return first - (shared_range.y - shared_range.x);",
    replace: "return first;",
    harm: "after a shared prompt training adds keys in another order than sampling: the ratio is not 1",
    tests: ["gpu/sampler_equals_trainer.test.ts#plain"],
  },
  {
    file: "kernels/lib/attention_decode.wgsl",
    find: "return vec2u(max(seen.x, first), min(seen.y, first + SPLIT));",
    replace: "return vec2u(max(seen.x, first), min(seen.y, first + SPLIT - 1u));",
    harm: "past 256 tokens sampling does not see one token of each split",
    tests: ["gpu/sampler_equals_trainer.test.ts"],
  },
];

export const faults: readonly Fault[] = [...WINDOWS, ...SOFTCAPS, ...WIDE_HEADS, ...SPLITS];
