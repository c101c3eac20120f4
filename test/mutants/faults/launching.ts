/** Faults of how ranks are started: other programs' files, who takes which GPU, the driver that nobody named. */
import type { Fault } from "../fault.ts";

const FILES = ["unit/launch_files.test.ts"];
const DEVICES = ["unit/device_choice.test.ts"];

export const faults: readonly Fault[] = [
  {
    file: "src/config/deepspeed_keys.ts",
    find: "value: stage === 0 ? 0 : 2",
    replace: "value: 2",
    harm: "DeepSpeed's stage 0 shares out the optimizer all the same",
    tests: FILES,
  },
  {
    file: "src/config/deepspeed.ts",
    find: "if (JSON.stringify(ours.value) === JSON.stringify(value)) return [];",
    replace: "if (ours) return [];",
    harm: "a DeepSpeed file of another batch or clipping is taken, and not what is trained with",
    tests: FILES,
  },
  {
    file: "src/config/deepspeed.ts",
    find: 'if (!own || own.value === value || own.value === "auto") return [];',
    replace: "if (own?.value !== undefined) return [];",
    harm: "a DeepSpeed file outvotes a setting without a word",
    tests: FILES,
  },
  {
    file: "src/config/accelerate.ts",
    find: "return { path };",
    replace: "return null;",
    harm: "the DeepSpeed file that accelerate's file names is not read",
    tests: FILES,
  },
  {
    file: "src/cli/launch_options.ts",
    find: "if (world && wanted && world.size !== wanted.size) {",
    replace: "if (world && wanted && world.size < 1) {",
    harm: "a job of 2 tasks that was to have 4 trains on, with half the batch",
    tests: FILES,
  },
  {
    file: "src/assembly/device_choice.ts",
    find: "return among[localRank % among.length];",
    replace: "return among[0];",
    harm: "all ranks of a machine compute on its first GPU",
    tests: DEVICES,
  },
  {
    file: "src/assembly/device_choice.ts",
    find: "const gpu = nvidia[Number(id)];",
    replace: "const gpu = undefined as NvidiaGpu | undefined;",
    harm: "a GPU that SLURM gave by its number is not found",
    tests: DEVICES,
  },
  {
    file: "src/assembly/devices.ts",
    find: "if (sharing.length === 1 || ",
    replace: "if (sharing.length >= 1 || ",
    harm: "two ranks on one card go on until its memory ends",
    tests: DEVICES,
  },
  {
    file: "scripts/nvidia_manifest.mjs",
    find: "if (env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES || !existsSync(places.device)) return undefined;",
    replace: "if (!existsSync(places.device)) return undefined;",
    harm: "drivers that a user has chosen are replaced",
    tests: ["unit/nvidia_manifest.test.ts"],
  },
];
