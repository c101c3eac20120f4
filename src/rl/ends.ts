/** How completions end. */

/** eos: by themselves; stop: by a stop string; length: cut at max_completion_length. */
export const ENDS = ["eos", "stop", "length"] as const;

export type End = (typeof ENDS)[number];
