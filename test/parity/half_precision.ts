/** The models in float16: products on matrix units, where the device has them, and the KV cache. */
import { matrixUnitsMissing, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { type Compare, golden, goldenFamilies, logitsOf, sequencesOf, worstOf } from "./golden_models.ts";
import { differences, type ParityLine, worstOfRowMax } from "./line.ts";
import { decodeError } from "./models.ts";
import { sampledError } from "./sampler_logprobs.ts";

async function inFloat16<R>(body: () => Promise<R>): Promise<R> {
  setMatmulPrecision("float16");
  try {
    return await body();
  } finally {
    setMatmulPrecision("float32");
  }
}

const worstOfAll = async (compare: Compare): Promise<number> =>
  Math.max(await worstOf(golden, false, compare), await worstOf(goldenFamilies, false, compare));

/** @throws Error when no logit of a model differs from float32's: then nothing was multiplied in float16 */
const logitsError: Compare = async (policy, one, expected) => {
  const sequences = sequencesOf(one);
  const rounded = await inFloat16(() => logitsOf(policy, sequences));
  if (differences(rounded, await logitsOf(policy, sequences)) === 0) {
    throw new Error(`${one.name}: no product went through matrix units: every logit is float32's`);
  }
  return worstOfRowMax(rounded, expected.get("logits")!, policy.config.vocabSize);
};

/** @throws Error when every logit of a model is that of a cache in float32 */
const cachedError: Compare = async (policy, one, expected) => {
  const error = await decodeError("f16")(policy, one, expected);
  if (error === 0) throw new Error(`${one.name}: no key or value was rounded to float16`);
  return error;
};

/** Layers of the deepest model here, SmolLM3. */
const LAYERS = 5;
/** That feed one another: into attention, out of it, into the MLP and out of it; then the head. */
const PRODUCTS = 4 * LAYERS + 1;

export const lines: ParityLine[] = [
  {
    what: "Logits with products in float16 (f16 factors, f32 sums), all models of above",
    reference: "transformers, f32, eager attention",
    measure: "of the row's max",
    limit: 2e-2,
    reason:
      `up to ${PRODUCTS} products feed one another, of two factors each, of which rounding to 11 bits takes ` +
      `up to 2^-11: ${PRODUCTS} x 2 x 2^-11 = ${(PRODUCTS * 2 ** -10).toFixed(4)}`,
    missing: () => matrixUnitsMissing(),
    worst: () => worstOfAll(logitsError),
  },
  {
    what: "Log-probs of sampled tokens as decoding computed them, products in float16, all models of above",
    reference: "our training forward pass in float16, the same tokens",
    measure: "largest difference, nats",
    limit: 0,
    missing: () => matrixUnitsMissing(),
    worst: () => worstOfAll((policy, one) => inFloat16(() => sampledError(policy, one))),
  },
  {
    what: "Logits of decoding over a KV cache in float16, all models of above",
    reference: "our full forward pass, f32",
    measure: "of the row's max",
    limit: 2e-2,
    worst: () => worstOfAll(cachedError),
  },
];
