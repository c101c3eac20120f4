/** The areas of docs/parity.md, in its order. */
import type { ParityLine } from "./line.ts";
import { lines as trlLoss } from "./trl_loss.ts";
import { lines as trlSteps } from "./trl_steps.ts";

export interface ParityArea {
  title: string;
  lines: ParityLine[];
}

export const parityAreas: ParityArea[] = [
  { title: "GRPO loss", lines: trlLoss },
  { title: "Whole optimizer steps", lines: trlSteps },
];
