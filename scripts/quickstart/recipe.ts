/** Sizes of the embedded models and how they are trained; see train_models.ts. */
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";

export interface Recipe {
  steps: number;
  batchSize: number;
  learningRate: number;
  warmupSteps: number;
}

/** Folders of the score models: the usual two, and the second cost model of configs/quickstart_two_costs.yaml. */
export type ScoreModelName = "reward" | "cost" | "cost_tone";

export const LAYERS = 2;

export const POLICY_RECIPE: Recipe = { steps: 450, batchSize: 64, learningRate: 4e-3, warmupSteps: 20 };
export const SCORE_RECIPES: Record<ScoreModelName, Recipe> = {
  reward: { steps: 640, batchSize: 64, learningRate: 2e-3, warmupSteps: 50 },
  cost: { steps: 320, batchSize: 64, learningRate: 3e-3, warmupSteps: 50 },
  cost_tone: { steps: 400, batchSize: 64, learningRate: 3e-3, warmupSteps: 20 },
};

function llamaConfig(tokenizer: Tokenizer, architecture: string) {
  return {
    architectures: [architecture],
    model_type: "llama",
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: LAYERS,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: tokenizer.vocabSize,
    max_position_embeddings: 256,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: false,
    bos_token_id: tokenizer.bosId,
    eos_token_id: tokenizer.eosId,
    pad_token_id: tokenizer.padId,
    torch_dtype: "float16",
  };
}

/** config.json of the policy. */
export function policyConfig(tokenizer: Tokenizer) {
  return llamaConfig(tokenizer, "LlamaForCausalLM");
}

/** config.json of a score model, in safe-rlhf's words. */
export function scoreConfig(tokenizer: Tokenizer, type: "reward" | "cost") {
  return {
    ...llamaConfig(tokenizer, "LlamaForScore"),
    score_dim: 1,
    score_type: type,
    bias: true,
    do_normalize: false,
  };
}
