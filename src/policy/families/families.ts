/** The model families: each is a file of this folder and an entry here. */
import type { Family } from "./family.ts";
import { GEMMA2 } from "./gemma2.ts";
import { GEMMA3_TEXT } from "./gemma3.ts";
import { GRANITE } from "./granite.ts";
import { LLAMA } from "./llama.ts";
import { MISTRAL } from "./mistral.ts";
import { OLMO2 } from "./olmo2.ts";
import { PHI3 } from "./phi3.ts";
import { QWEN2 } from "./qwen2.ts";
import { QWEN3 } from "./qwen3.ts";
import { SMOLLM3 } from "./smollm3.ts";

export const FAMILIES: readonly Family[] = [
  LLAMA,
  MISTRAL,
  QWEN2,
  QWEN3,
  OLMO2,
  GRANITE,
  SMOLLM3,
  PHI3,
  GEMMA2,
  GEMMA3_TEXT,
];
