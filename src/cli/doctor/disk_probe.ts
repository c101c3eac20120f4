/** Whether the checkpoints of a run find room, as `doctor` and `--dry-run` say it. */
import { lookUpName } from "../../assembly/hub.ts";
import { parsePolicyConfig } from "../../assembly/models.ts";
import type { Config } from "../../config/schema.ts";
import { formatBytes } from "../../config/units.ts";
import { freeBytes } from "../../io/files/disk_space.ts";
import { openModelFolder } from "../../io/model/model_folder.ts";
import { parameterShapes } from "../../policy/weights.ts";
import { checkpointsToCome } from "../../train/disk.ts";
import type { Requirement } from "./diagnosis.ts";

const F32_BYTES = 4;
const HALF_BYTES = 2;
const MOMENTS_BYTES = 2 * F32_BYTES;

/** Bytes of a checkpoint: weights and AdamW's moments; null where the model is not here, or adapters are trained. */
async function checkpointBytes({ model_name, dtype, use_peft }: Config): Promise<number | null> {
  if (use_peft) return null;
  const { dir } = await lookUpName(model_name);
  if (dir === undefined) return null;
  const folder = await openModelFolder(dir, { accept: parsePolicyConfig });
  try {
    const model = parsePolicyConfig(folder.configText, folder.configPath);
    let bytes = 0;
    for (const [name, shape] of parameterShapes(model)) {
      if (name === model.layout.scoreHead.weight) continue;
      // Matrices in 16 bits have f32 values beside.
      const ofValue = dtype === "bfloat16" && shape.length > 1 ? HALF_BYTES + F32_BYTES : F32_BYTES;
      bytes += shape.reduce((size, n) => size * n, 1) * (ofValue + MOMENTS_BYTES);
    }
    return bytes;
  } finally {
    await folder.close();
  }
}

/** What checkpoints take of the disk of output_dir; what is wrong with the model is said elsewhere. */
export async function probeDisk(config: Config): Promise<Requirement> {
  const subject = "disk";
  const free = await freeBytes(config.output_dir);
  const one = await checkpointBytes(config).catch(() => null);
  const freeText = free === null ? "how much is free is not known" : `${formatBytes(free)} free`;
  if (one === null) return { subject, outcome: { detail: freeText } };
  const count = config.max_steps > 0 ? checkpointsToCome(config, config.max_steps) : 1;
  const all = count > 1 ? `, up to ${count} of them ${formatBytes(count * one)}` : "";
  const text = `a checkpoint takes ${formatBytes(one)}${all}; ${freeText}`;
  if (free === null || count * one <= free) return { subject, outcome: { detail: text } };
  if (one <= free) {
    return { subject, outcome: { detail: `${text}: too little; set save_total_limit or save_steps` } };
  }
  return { subject, outcome: { failure: text, remedy: "free space, or set output_dir to another disk" } };
}
