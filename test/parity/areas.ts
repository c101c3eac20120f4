/** The areas of docs/parity.md, in its order. */
import { lines as advantages } from "./advantages.ts";
import { lines as compositions } from "./compositions.ts";
import { lines as lambda } from "./lambda.ts";
import { lines as attention } from "./attention.ts";
import type { ParityLine } from "./line.ts";
import { lines as halves } from "./half_precision.ts";
import { lines as lora } from "./lora.ts";
import { lines as models } from "./models.ts";
import { lines as optimizer } from "./optimizer.ts";
import { lines as ropes } from "./ropes.ts";
import { lines as sampling } from "./sampling.ts";
import { lines as sampler } from "./sampler_logprobs.ts";
import { lines as scores } from "./scores.ts";
import { lines as classifiers } from "./sequence_classification.ts";
import { lines as text } from "./text.ts";
import { lines as trlLoss } from "./trl_loss.ts";
import { lines as trlRanks } from "./trl_ranks.ts";
import { lines as trlSteps } from "./trl_steps.ts";
import { lines as weightFormats } from "./weight_formats.ts";

export interface ParityArea {
  title: string;
  lines: ParityLine[];
}

export const parityAreas: ParityArea[] = [
  { title: "Transformer and greedy generation", lines: [...models, ...sampler, ...halves] },
  { title: "Scaled ropes", lines: ropes },
  { title: "Weights in 8 and 64 bits", lines: weightFormats },
  { title: "Attention and logits", lines: attention },
  { title: "LoRA adapters", lines: lora },
  { title: "Sampling", lines: sampling },
  { title: "Advantages", lines: [...advantages, ...compositions] },
  { title: "GRPO loss", lines: trlLoss },
  { title: "Optimizer and schedules", lines: optimizer },
  { title: "Whole optimizer steps", lines: [...trlSteps, ...trlRanks] },
  { title: "Scores", lines: [...scores, ...classifiers] },
  { title: "Tokenizer and template", lines: text },
  { title: "Lambda", lines: lambda },
];
