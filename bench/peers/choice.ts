/** Whom to compare with. */
export const PEER_CHOICES = ["all", "tfjs", "jax", "torch", "none"] as const;
export type PeerChoice = (typeof PEER_CHOICES)[number];

export function wantsPeer(choice: PeerChoice, name: "tfjs" | "jax" | "torch"): boolean {
  return choice === "all" || choice === name;
}
