/** The sections of docs/measurements.md: each a command that prints its figures. */

export interface Section {
  title: string;
  /** What to know to read the figures, where they do not say it. */
  about?: string;
  /** As typed into a shell in the checkout; what it prints is the section. */
  command: string;
  /** The lines to show; all of them unless set. */
  shown?: RegExp;
  /** Set: the output is Markdown. */
  isMarkdown?: boolean;
  /** What it needs beside the program. */
  needs?: Need;
  /** The same at a size that takes seconds; sections without one are left out of the short form. */
  tinyCommand?: string;
}

/** Something that a machine may lack. */
export interface Need {
  /** Why the section is not run, where it is missing. */
  missing: string;
  /** Succeeds where it is there; null: a GPU that is not software. */
  check: string | null;
}

const GPU: Need = { missing: "it needs a GPU, and this device is software", check: null };
const DENO: Need = { missing: "Deno is not there: npm install", check: "deno --version" };
const PYTHON: Need = {
  missing: "Python has no torch, transformers and peft: pip install -r test/golden/make/requirements.txt",
  check: `python3 -c "import torch, transformers, peft"`,
};
/** The first with a quickstart that is complete. */
const FIRST_COMMIT = "4ee5e65";
const HISTORY: Need = {
  missing: `this checkout does not hold commit ${FIRST_COMMIT}: git fetch --unshallow`,
  check: `git cat-file -e ${FIRST_COMMIT}`,
};

const SEEDS = "scripts/quickstart/seeds.ts";
const SEEDS_ABOUT =
  "Safe ratio: share of a step's 64 sampled completions with cost <= 0. Greedy eval: the 64 held-out " +
  "prompts after the last step. Training: sum of the step times. Weights: the first digits of their file's SHA-256.";
const LOADING_ABOUT =
  "A checkpoint of a billion parameters, bf16, four shards. Software Vulkan keeps its buffers in " +
  "the process's own memory.";
/** Our logits of a run of SEEDS against those of the programs that open its folder. */
const filesCommand = (config: string, seed: number) => {
  const folder = `outputs/seeds/${config}/beta0.02_seed${seed}_unified`;
  const logits = "outputs/seeds/logits.json";
  return `node --import tsx test/parity/write_logits.ts ${folder} ${logits} && ` +
    `python3 test/golden/make/check_files.py ${folder} ${logits}`;
};
const opCommand = (op: string, options: string) => `npm run bench -- --op ${op} ${options}`;

export const SECTIONS: readonly Section[] = [
  {
    title: "The quickstart, Node",
    about: SEEDS_ABOUT,
    command: `node --import tsx ${SEEDS} 1 2 3`,
    isMarkdown: true,
  },
  {
    title: "The quickstart, Deno",
    about:
      "Deno offers no subgroups and runs the plain kernels; its weights are to be the same bits as Node's above.",
    command: `deno run -A ${SEEDS} 3`,
    isMarkdown: true,
    needs: DENO,
  },
  {
    title: "Its files in transformers",
    about:
      "Our logits of the run's folder against those of the program that opens it, as a share of the row's max.",
    command: filesCommand("quickstart", 3),
    needs: PYTHON,
  },
  {
    title: "The quickstart with adapters",
    about: "Rank 64 on all linear layers, 180 steps.",
    command: `node --import tsx ${SEEDS} --config configs/quickstart_lora.yaml 1`,
    isMarkdown: true,
  },
  {
    title: "Its files in peft and transformers",
    about: "As above; the merged weights are held against peft's own merge.",
    command: filesCommand("quickstart_lora", 1),
    needs: PYTHON,
  },
  {
    title: "From a fresh clone",
    about:
      "Packages from the registry, 90 steps and both evaluations; the seconds beside the command are those of it all.",
    command: "rm -rf outputs/fresh && git clone -q . outputs/fresh && cd outputs/fresh && npm run train && " +
      "cd ../.. && rm -rf outputs/fresh",
    shown: /^(safe ratio|eval safe|time) /,
  },
  {
    title: "The quickstart against an earlier commit",
    about: "The commit that had the first complete quickstart, then this one.",
    command: `node --import tsx bench/against_commit.ts ${FIRST_COMMIT}`,
    needs: HISTORY,
  },
  ...["lora", "full"].map((mode): Section => ({
    title: `Memory planned and taken, ${mode === "lora" ? "adapters" : "all weights in f32"}`,
    about:
      "One step of a Llama of 162M parameters with random weights: 8 completions of 24 tokens in passes of 2, " +
      "with a reference policy. The plan counts full lengths, and passes of other sizes, which one step has none of.",
    command: `node --import tsx bench/shape.ts 160m ${mode}`,
    shown: /^GPU memory .* at the most/,
  })),
  {
    title: "Memory of a 7B policy, planned",
    about:
      "With a GPU's binding limit in place of this machine's: 2 prompts of 128 tokens x 30 completions of 512, " +
      "a reference policy, evaluation of 64 prompts at a time. A phase's figure is what it takes beside what is held.",
    command: "node --import tsx bench/plan.ts",
  },
  { title: "Loading, Node", about: LOADING_ABOUT, command: "node --import tsx bench/load.ts" },
  {
    title: "Loading, Deno",
    about: LOADING_ABOUT,
    command: "deno run -A --unstable-webgpu bench/load.ts",
    needs: DENO,
  },
  {
    title: "A training step of a 15M Llama, beside plain tfjs",
    command: "npm run bench -- --train --peer tfjs --repeat 1",
    tinyCommand: "npm run bench -- --train --tiny --peer tfjs --repeat 1",
  },
  {
    title: "A training step of a 15M Llama, beside jax-js",
    command: "npm run bench -- --train --peer jax",
    needs: GPU,
    tinyCommand: "npm run bench -- --train --tiny --peer jax --repeat 1",
  },
  {
    title: "Decoding of the same model",
    command: "npm run bench -- --decode --peer tfjs --repeat 1",
    tinyCommand: "npm run bench -- --decode --tiny --peer tfjs --repeat 1",
  },
  {
    title: "Phases of a quickstart step",
    command: "npm run bench -- --job --shape quickstart",
  },
  {
    title: "Phases of a step of a 1B model",
    command: "npm run bench -- --job --shape 1b",
    needs: GPU,
  },
  {
    title: "Cost curves",
    command: "npm run bench -- --curves --repeat 3",
  },
  { title: "Norms", command: opCommand("rms_norm", "--repeat 2") },
  { title: "Log-probs", command: opCommand("token_logprobs", "--repeat 2") },
  { title: "Linear layers", command: opCommand("linear", "--repeat 1 --peer none") },
  { title: "All ops", command: "npm run bench", needs: GPU },
];
