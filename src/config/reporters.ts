/** What a run's measurements may be copied to. */
export const REPORTERS = ["tensorboard", "wandb", "trackio"] as const;
export type Reporter = (typeof REPORTERS)[number];

/** As the setting has it: auto is what the environment asks for. */
export type ReportTo = "auto" | "none" | readonly Reporter[];
