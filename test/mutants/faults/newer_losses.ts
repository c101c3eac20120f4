/** Faults of the newer loss types, of entropy in the loss and of a reference that follows. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "kernels/loss/policy_weights.wgsl",
    find: "kept = select(0.0, 1.0, advantage >= 0.0 || mean <= params.threshold);",
    replace: "kept = select(0.0, 1.0, mean <= params.threshold);",
    harm: "off_policy_mask_threshold leaves out good completions too",
    tests: ["gpu/ops.test.ts#policy_weights", "parity/parity.test.ts#GRPO loss"],
  },
  {
    file: "kernels/lib/grpo.wgsl",
    find: "return -4.0 * gate * (away * gate) * ratio * advantage;",
    replace: "return -4.0 * gate * (away * gate) * advantage;",
    harm: "loss_type sapo has another gradient than its loss",
    tests: ["gpu/ops.test.ts#grpo_loss"],
  },
  {
    file: "kernels/head/token_logprobs_grad.wgsl",
    find: "* exp(logprob) * (logprob + entropy[row]);",
    replace: "* exp(logprob) * logprob;",
    harm: "entropy_coef moves logits that no entropy depends on",
    tests: ["gpu/ops.test.ts#token_logprobs", "gpu/ops.test.ts#lm_head_logprobs"],
  },
  {
    file: "src/rl/entropy.ts",
    find: "const gap = fround(high - low);",
    replace: "const gap = 0;",
    harm: "top_entropy_quantile takes the entropy below the quantile for it",
    tests: ["unit/entropy.test.ts"],
  },
  {
    file: "src/rl/entropy.ts",
    find: "return lastEntropy !== null && lastEntropy <= config.entropy_target ? coef : 0;",
    replace: "return coef;",
    harm: "an entropy bonus that adapts applies above its target too",
    tests: ["unit/entropy.test.ts", "parity/parity.test.ts#GRPO loss"],
  },
  {
    file: "src/train/step_entropy.ts",
    find: "const kept = all.filter((entropy) => entropy >= threshold);",
    replace: "const kept = all;",
    harm: "the entropy bonus is of tokens that do not count",
    tests: ["parity/parity.test.ts#Whole optimizer steps"],
  },
  {
    file: "src/train/reference_sync.ts",
    find: "if (!following || learner.optimizer.updates % config.ref_model_sync_steps !== 0) return;",
    replace: "if (!following) return;",
    harm: "the reference follows after every step, whatever ref_model_sync_steps says",
    tests: ["gpu/newer_losses.test.ts", "parity/parity.test.ts#Whole optimizer steps"],
  },
  {
    file: "src/train/checkpointing.ts",
    find: "writeTensor(weight.tensor, await checkpoint.optimizer.read(followingName(weight.name)));",
    replace: "",
    harm: "a resumed run holds its policy against the reference that it began with",
    tests: ["gpu/newer_losses.test.ts"],
    claim: 10,
  },
  {
    file: "src/train/generation_batch.ts",
    find: "entropyControl: config.use_adaptive_entropy ? entropyControl : null,",
    replace: "entropyControl: null,",
    harm: "the entropy bonus that adapts begins anew with each generation batch",
    tests: ["gpu/newer_losses.test.ts", "parity/parity.test.ts#Whole optimizer steps"],
  },
];
