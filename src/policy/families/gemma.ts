/** What Gemma 2 and 3 have in common beside Llama: norms of 1 + weight, scaled embeddings, GELU, caps. */
import { positive, positiveInteger, refuse } from "./config_values.ts";
import type { Arithmetic, Json } from "./family.ts";

/** A cap, null where config.json has null. @param unset where config.json leaves it out */
function capOf(json: Json, key: string, path: string, unset: number | null): number | null {
  const given = json[key] === undefined ? unset : json[key];
  return given === null ? null : positive({ [key]: given }, key, path);
}

/** @param caps of attention scores and of logits, where config.json leaves them out */
export function gemmaArithmetic(
  json: Json,
  path: string,
  caps: { attention: number | null; logits: number | null },
): Partial<Arithmetic> {
  if (json.use_bidirectional_attention) {
    refuse(path, "use_bidirectional_attention", "causal attention (false): the model is an encoder");
  }
  return {
    activation: "gelu_tanh",
    unitOffsetNorms: true,
    embeddingScale: Math.sqrt(positiveInteger(json, "hidden_size", path)),
    roundsEmbeddingScale: true,
    attentionScale: positive(json, "query_pre_attn_scalar", path, 256) ** -0.5,
    attentionSoftcap: capOf(json, "attn_logit_softcapping", path, caps.attention),
    logitsSoftcap: capOf(json, "final_logit_softcapping", path, caps.logits),
  };
}

/** Gemma's attention_bias puts one on all four projections. */
export const gemmaBiases = ({ attention_bias }: Json) => ({
  qkv: !!attention_bias,
  output: !!attention_bias,
  mlp: false,
});
