/**
 * Writes our logits of a model or adapter folder for golden/make/check_files.py to compare with.
 *
 *   node --import tsx test/parity/write_logits.ts <folder> <logits.json>
 */
import { writeFileSync } from "node:fs";
import { loadPolicy } from "../../src/assembly/models.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { uniform01 } from "../../src/rl/rng.ts";
import { logitsOf } from "./golden_models.ts";

const LENGTHS = [5, 17, 32];

const [folder, path] = process.argv.slice(2);
if (path === undefined) throw new TypeError("Usage: write_logits.ts <folder> <logits.json>");
await openGpu();
const { policy } = await loadPolicy(folder, "frozen");
const { vocabSize } = policy.config;
const ids = LENGTHS.map((length, s) =>
  Array.from(
    { length },
    (_, t) => Math.floor(uniform01(1, 0, { prompt: s, generation: 0, position: t }) * vocabSize),
  )
);
const logits = await logitsOf(policy, ids);
writeFileSync(path, JSON.stringify({ ids, logits: Array.from(logits) }));
await closeGpu();
