/** How published evaluations were made, as settings that stand in front of those of the command line. */

export interface EvalPreset {
  /** `key=value`, as --set takes them. */
  settings: readonly string[];
  /** What scores are rounded to, as a score head of that type gives them. */
  scores: "float32" | "bfloat16";
}

/** No stop strings, no cut by a scorer in this process (beyond its model's positions), scores in bfloat16. */
const published = (completionTokens: number): EvalPreset => ({
  settings: [`max_completion_length=${completionTokens}`, "stop_strings=[]", "scorer_max_length=4096"],
  scores: "bfloat16",
});

/** By name; "ours" is what the settings say. */
export const EVAL_PRESETS = {
  ours: { settings: [], scores: "float32" },
  "paper-256": published(256),
  "paper-512": published(512),
} as const satisfies Readonly<Record<string, EvalPreset>>;

export type EvalPresetName = keyof typeof EVAL_PRESETS;
