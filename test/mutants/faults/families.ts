/** Slips in what families compute otherwise than Llama. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "kernels/lib/gelu.wgsl",
    find: "const TWICE_SLOPE = 1.5957691216057308;",
    replace: "const TWICE_SLOPE = 1.702;",
    harm: "Gemma's activation is another approximation of GELU than it was trained with",
    tests: ["gpu/ops.test.ts#geglu"],
  },
  {
    file: "kernels/lib/gelu.wgsl",
    find: "(1.0 + 3.0 * CUBIC * g * g)",
    replace: "(1.0 + CUBIC * g * g)",
    harm: "Gemma's MLP learns by a wrong slope",
    tests: ["gpu/ops.test.ts#geglu"],
  },
  {
    file: "kernels/lib/norm_weight.wgsl",
    find: "{ return 1.0 + w; }",
    replace: "{ return w; }",
    harm: "Gemma's norms, which are stored around 0, let next to nothing through",
    tests: ["gpu/ops.test.ts#rms_norm", "gpu/ops.test.ts#residual_norm"],
  },
  {
    file: "kernels/norm/rms_norm_grad.wgsl",
    find: "(dy[at] * factor(w[d]) -",
    replace: "(dy[at] * w[d] -",
    harm: "below Gemma's norms nothing learns",
    tests: ["gpu/ops.test.ts#rms_norm", "gpu/ops.test.ts#residual_norm"],
  },
  {
    file: "kernels/rows/columns.wgsl",
    find: "params.y_first + c]",
    replace: "c]",
    harm: "Phi-3's keys and values give their gradients to its queries",
    tests: ["gpu/ops.test.ts#columns"],
  },
  {
    file: "src/ops/elementwise/fork.ts",
    find: "add(first, second)",
    replace: "add(first, second, 0)",
    harm: "OLMo 2's layers learn as if none came below them",
    tests: ["gpu/ops.test.ts#fork"],
  },
  {
    file: "kernels/lib/rope.wgsl",
    find: "return Turn(a, a + quarter - part, vec2f(1.0), vec2f(0.0));",
    replace: "return Turn(a, a + quarter, vec2f(1.0), vec2f(0.0));",
    harm: "what Phi-4-mini does not rotate is taken from the next head",
    tests: ["gpu/ops.test.ts#rope", "gpu/ops.test.ts#rope_kv"],
  },
];
