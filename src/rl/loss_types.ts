/**
 * The loss types: all that the program knows of one is its entry here. The configuration, its rules and its docs, the
 * weights of completions, the f64 twin, the kernels' constants and the logged clip ratios read this table. A type
 * with a policy term of its own adds that to policy_terms.ts, and a branch to kernels/lib/grpo.wgsl.
 */
import {
  CLIPPED_RATIO,
  CLIPPED_SEQUENCE_RATIO,
  GAMMA_WEIGHTED,
  type PolicyTerm,
  SOFT_GATE,
  WEIGHTED_LOGPROB,
} from "./policy_terms.ts";

/** What the token losses of an optimizer step are averaged over; loss_weights.ts has the divisors. */
type LossAverage = "completions" | "micro-batches" | "longest completions" | "tokens" | "sums of completions";

interface LossTypeRule {
  average: LossAverage;
  policyTerm: PolicyTerm;
  /** Where it is from. */
  source: string;
  /** What it does, for the help of the config key: "NAME ...". */
  help: string;
}

/** By the names that TRL gives them. */
export const LOSS_TYPES = {
  grpo: {
    average: "completions",
    policyTerm: CLIPPED_RATIO,
    source: "arXiv:2402.03300",
    help: "over each completion, then over completions",
  },
  bnpo: {
    average: "micro-batches",
    policyTerm: CLIPPED_RATIO,
    source: "TRL",
    help: "over the tokens of a micro-batch",
  },
  dr_grpo: {
    average: "longest completions",
    policyTerm: CLIPPED_RATIO,
    source: "arXiv:2503.20783",
    help: "over max_completion_length",
  },
  dapo: {
    average: "tokens",
    policyTerm: CLIPPED_RATIO,
    source: "arXiv:2503.14476",
    help: "over the tokens of the optimizer step",
  },
  cispo: {
    average: "tokens",
    policyTerm: WEIGHTED_LOGPROB,
    source: "arXiv:2506.13585",
    help: "as dapo, and weighs log-probs with bounded ratios instead of clipping",
  },
  sapo: {
    average: "completions",
    policyTerm: SOFT_GATE,
    source: "arXiv:2511.20347",
    help: "as grpo, and closes a soft gate (sapo_temperature_pos, _neg) instead of clipping",
  },
  luspo: {
    average: "sums of completions",
    policyTerm: CLIPPED_SEQUENCE_RATIO,
    source: "arXiv:2602.05261",
    help: "summed over each completion, then over completions",
  },
  vespo: {
    average: "tokens",
    policyTerm: GAMMA_WEIGHTED,
    source: "arXiv:2602.10693",
    help: "as dapo, and weighs log-probs with a gamma function (vespo_k_pos, ...) of the completion's ratio",
  },
} satisfies Record<string, LossTypeRule>;

export type LossType = keyof typeof LOSS_TYPES;

/** Names of the loss types, in the table's order. */
export const LOSS_TYPE_NAMES = Object.keys(LOSS_TYPES) as [LossType, ...LossType[]];
