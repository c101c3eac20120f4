/** The model families: each is a file of this folder and an entry here. */
import type { Family } from "./family.ts";
import { LLAMA } from "./llama.ts";
import { MISTRAL } from "./mistral.ts";
import { QWEN2 } from "./qwen2.ts";
import { QWEN3 } from "./qwen3.ts";

export const FAMILIES: readonly Family[] = [LLAMA, MISTRAL, QWEN2, QWEN3];
