/** What people type in their first hour: what failed, what is required, what was found, and the remedy. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { leftOut } from "../left_out.ts";
import { AS_USER, NO_USER, withCheckout } from "../unit/start_checkout.ts";
import { NO_SHELL, writeStub } from "../unit/stub_program.ts";
import { scratch } from "./config_run.ts";
import { ROOT, startProgram } from "./program.ts";

/** A wrong start must be answered at once; this much more is for a machine that does something else too. */
const AT_ONCE_MS = 20_000;

interface Mistake {
  /** Number in the list of what people type. */
  number: number;
  typed: string;
  /** Words behind `npm run`; the first is the task. */
  words: string[];
  env?: Record<string, string>;
  /** What the message must hold. */
  says: RegExp[];
  /** What it must not. */
  saysNot?: RegExp;
  /** 0 where it is no mistake: it must work. */
  code?: 0 | 75;
}

const set = (...assignments: string[]) => assignments.flatMap((assignment) => ["--set", assignment]);
const keptByNpm = (task: string, options: Record<string, string>) => ({
  npm_lifecycle_event: task,
  ...Object.fromEntries(Object.entries(options).map(([name, value]) => [`npm_config_${name}`, value])),
});

/** Two rows {"prompt": "why red?"}, {"prompt": "why blue?"} as pyarrow writes them, uncompressed. */
const PARQUET =
  "UEFSMRUAFT4VPiwVBBUAFQYVBhwAAAACAAAABAEIAAAAd2h5IHJlZD8JAAAAd2h5IGJsdWU/FQQZLDUAGAZzY2hlbWEVAgAVDCUCGAZwcm9t" +
  "cHQlAEwcAAAAFgQZHBkcJgAcFQwZJQYAGRgGcHJvbXB0FQAWBBZkFmQmCEkcFQAVABUCADwWIhkGGSYABAAAABZkFgQmCBZkACggcGFycXVldC1jcHAt" +
  "YXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAACMAAAAUEFSMQ==";

function writeFiles(): void {
  const rows = [{ prompt: "why red?" }, { prompt: "why blue?" }];
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  for (const folder of ["adapter", "gpt2"]) mkdirSync(scratch(folder), { recursive: true });
  writeFileSync(scratch("weights.gguf"), "GGUF\x03\0\0\0");
  writeFileSync(
    scratch("gpt2/config.json"),
    JSON.stringify({ model_type: "gpt2", architectures: ["GPT2LMHeadModel"] }),
  );
  const adapter = JSON.parse(
    readFileSync(join(ROOT, "test/golden/lora/llama2_all/adapter_config.json"), "utf8"),
  );
  const base = join(ROOT, "models/quickstart/policy");
  writeFileSync(
    scratch("adapter/adapter_config.json"),
    JSON.stringify({ ...adapter, base_model_name_or_path: base }),
  );
  cpSync(base, scratch("another"), { recursive: true });
  const weights = "adapter_model.safetensors";
  cpSync(join(ROOT, "test/golden/lora/llama2_all", weights), scratch(`adapter/${weights}`));
  writeFileSync(scratch("rows.json"), JSON.stringify(rows, null, 2));
  writeFileSync(scratch("rows.jsonl.gz"), gzipSync(lines));
  writeFileSync(scratch("rows.parquet"), Buffer.from(PARQUET, "base64"));
  writeFileSync(scratch("empty.jsonl"), "");
  for (const [name, text] of Object.entries(MODULES)) writeFileSync(scratch(name), text);
  writeFileSync(scratch("messages.jsonl"), `{"prompt": [{"role": "user", "content": "why red?"}]}\n`);
}

/** Modules in a folder outside of any package, which no package.json calls ES modules. */
const MODULES = {
  "types.ts": `export const judge = (answers: readonly unknown[]): number[] => answers.map(() => 1);\n`,
  "late.ts":
    `const judge = (answers: readonly unknown[]): number[] => answers.map(() => 1);\nexport { judge };\n`,
  "imports.ts": `import { join } from "node:path";\nimport { judge as other } from "./types.ts";\n` +
    `export const judge = (a: unknown[]) => other(a).map((n) => n + join("a").length);\n`,
};

/** One each: two starts side by side in one folder are a mistake of their own. */
let folders = 0;
const out = () => `output_dir=${scratch(`out${folders++}`)}`;

/** @param other address of a server that is no scorer */
function mistakes(other: string): Mistake[] {
  const rows = (name: string): Mistake => ({
    number: 19,
    typed: `--set train_jsonl=${name}`,
    words: ["train", ...set(`train_jsonl=${scratch(name)}`, out()), "--dry-run"],
    says: [/^# train_jsonl .*: 2 prompts$/m],
    code: 0,
  });
  return [
    {
      number: 1,
      typed: "npm run train --beta=0.5 --seed=9",
      words: ["train"],
      env: keptByNpm("train", { beta: "0.5", seed: "9" }),
      says: [/put -- before the options/, /npm run train -- --beta 0\.5 --seed 9/],
    },
    {
      number: 2,
      typed: "npm run train --dry-run",
      words: ["train"],
      env: keptByNpm("train", { dry_run: "true" }),
      says: [/put -- before the options/, /npm run train -- --dry-run/],
    },
    {
      number: 3,
      typed: "deno task train -- --dry-run",
      words: ["train", "--", "--dry-run"],
      says: [/^# steps +90, of 64 completions/m, /^max_steps: 90$/m],
      code: 0,
    },
    {
      number: 4,
      typed: "--learning_rate 1e-4",
      words: ["train", "--learning_rate", "1e-4"],
      says: [/unknown option --learning_rate; use --set learning_rate=1e-4/],
    },
    {
      number: 5,
      typed: "TRL's and other programs' keys",
      words: [
        "train",
        ...set(
          "logging_nan_inf_filter=true",
          "vllm_mode=colocate",
          "per_device_batch=1",
          "max_new_tokens=9",
          "kl_coef=0.1",
        ),
      ],
      says: [
        /"logging_nan_inf_filter", which is TRL's: every run writes metrics\.jsonl/,
        /"vllm_mode", which is TRL's: completions are sampled in this process/,
        /"per_device_batch"; set per_device_train_batch_size/,
        /"max_new_tokens"; set max_completion_length/,
        /"kl_coef"; set beta/,
      ],
    },
    {
      number: 6,
      typed: "--beta 0.01 --beta 0.05",
      words: ["train", "--beta", "0.01", "--beta", "0.05", "--dry-run"],
      says: [/^# runs .*beta0\.01_seed42_unified, .*beta0\.05_seed42_unified$/m],
      code: 0,
    },
    {
      number: 7,
      typed: "--beta 0.01 --set beta=0.5",
      words: ["train", "--beta", "0.01", "--set", "beta=0.5"],
      says: [/beta is given twice, by --beta 0\.01 and by --set beta=0\.5; give one of them/],
    },
    ...["/no/such/folder", "./no"].map((name): Mistake => ({
      number: 8,
      typed: `--set model_name=${name}`,
      words: ["train", ...set(`model_name=${name}`, out())],
      says: [/there is no folder/, new RegExp(name)],
    })),
    {
      number: 9,
      typed: "--set model_name=models/alpaca-7b, which is not there",
      words: ["train", ...set("model_name=models/alpaca-7b", out())],
      env: { HF_ENDPOINT: "http://127.0.0.1:1" },
      says: [/there is no folder/, /models\/alpaca-7b/],
    },
    {
      number: 10,
      typed: "--set reward_model=models/quickstart/policy",
      words: ["train", ...set("reward_model=models/quickstart/policy", out())],
      says: [/reward_model/, /a score model is required/],
    },
    {
      number: 11,
      typed: "reward_model and cost_model swapped",
      words: [
        "train",
        ...set("reward_model=models/quickstart/cost", "cost_model=models/quickstart/reward", out()),
      ],
      says: [/are reward_model and cost_model swapped\?/],
    },
    {
      number: 12,
      typed: "a GGUF file as model_name",
      words: ["train", ...set(`model_name=${scratch("weights.gguf")}`, out())],
      says: [/GGUF/, /convert/i],
    },
    {
      number: 13,
      typed: "an adapter's folder without use_peft",
      words: ["train", ...set(`model_name=${scratch("adapter")}`, out())],
      says: [/adapter/, /use_peft/],
    },
    {
      number: 14,
      typed: "a model of gpt2",
      words: ["train", ...set(`model_name=${scratch("gpt2")}`, out())],
      says: [/gpt2/, /Llama/i],
      saysNot: /tokenizer\.json|model\.safetensors/,
    },
    {
      number: 15,
      typed: "--set scorer_url=localhost:8000",
      words: ["train", ...set("scorer_url=localhost:8000")],
      says: [/scorer_url must be an http:\/\/ .*; try "http:\/\/localhost:8000"/],
    },
    {
      number: 16,
      typed: "scorer_url of some other server",
      words: ["train", ...set(`scorer_url=${other}`, out())],
      says: [/something else answers there/, new RegExp(other)],
    },
    {
      number: 17,
      typed: "a scorer that is not running",
      words: ["train", ...set("scorer_url=http://127.0.0.1:59998", "scorer_retry_max_s=1", out())],
      code: 75,
      says: [
        /^Scorer http:\/\/127\.0\.0\.1:59998 does not answer .* up to 1 s .*`(npm run|deno task) scorer` starts one/m,
        /Scorer API at http:\/\/127\.0\.0\.1:59998 is not responding/,
      ],
    },
    rows("rows.parquet"),
    rows("rows.jsonl.gz"),
    rows("rows.json"),
    {
      number: 20,
      typed: "a wrong prompt_key",
      words: ["train", ...set("prompt_key=question", out())],
      says: [/required the key "question", keys present: "prompt"/, /set prompt_key to one of them/],
    },
    {
      number: 21,
      typed: "an empty file of prompts",
      words: ["train", ...set(`train_jsonl=${scratch("empty.jsonl")}`, out())],
      says: [/required at least one .*row, got no row/, /empty\.jsonl/],
    },
    {
      number: 22,
      typed: "lists of messages for a template that takes texts",
      words: ["train", ...set(`train_jsonl=${scratch("messages.jsonl")}`, "chat_template=none", out())],
      says: [/messages\.jsonl/, /set chat_template/],
    },
    {
      number: 23,
      typed: "--set output_dir=~/x",
      words: ["train", ...set("output_dir=~/x"), "--dry-run"],
      says: [
        new RegExp(`^# runs +${homedir()}/x/beta`, "m"),
        new RegExp(`^output_dir: ${homedir()}/x$`, "m"),
      ],
      code: 0,
    },
    {
      number: 24,
      typed: "an output_dir below /proc",
      words: ["train", ...set("output_dir=/proc/no/such")],
      says: [/Cannot write into the folder '\/proc\/no\/such'/, /choose a folder on a disk/],
    },
    {
      number: 25,
      typed: "a batch that does not divide",
      words: ["train", ...set("num_generations=7")],
      says: [
        /need a multiple of num_generations = 7; set gradient_accumulation_steps to 7 or num_generations to 4 or 8/,
      ],
    },
    {
      number: 26,
      typed: "--set max_steps=0",
      words: ["train", ...set("max_steps=0")],
      says: [/max_steps must be >= 1.*got 0; .*leave it out for 90 of configs\/quickstart\.yaml:\d+:1$/m],
    },
    {
      number: 27,
      typed: "--dry-run with a model that is not there",
      words: ["train", ...set("model_name=./no", out()), "--dry-run"],
      says: [/^model_name: .*\bno\b/m, /set model_name to a folder/],
    },
    ...["models/quickstart/policy", scratch("another")].map((folder): Mistake => ({
      number: 28,
      typed: `eval of ${folder}: results in a folder of its own`,
      words: ["eval", ...set(`model_name=${folder}`), "--dry-run"],
      says: [new RegExp(`^# results +${folder}/eval$`, "m")],
      code: 0,
    })),
    ...Object.keys(MODULES).map((name): Mistake => ({
      number: 30,
      typed: `reward_functions of TypeScript outside of any package, ${name}`,
      words: ["train", ...set(`reward_functions=["${scratch(name)}#judge"]`, out()), "--dry-run"],
      says: [new RegExp(`^# functions +${scratch(name)}#judge$`, "m")],
      code: 0,
    })),
    ...([
      [{ WANDB_MODE: "on" }, /WANDB_MODE must be online, offline or disabled, got "on"; correct or unset it/],
      [
        { WANDB_API_KEY: "k".repeat(39) },
        /WANDB_API_KEY must be a key of W&B, 40 or more .* got 39 characters/,
      ],
      [{ WANDB_BASE_URL: "api.example" }, /WANDB_BASE_URL must be an http:.* got "api\.example"/],
    ] as const).map(([env, message]): Mistake => ({
      number: 31,
      typed: `${Object.keys(env)} that W&B does not take, before anything is loaded`,
      words: ["train", ...set(out())],
      env: { WANDB_MODE: "", ...env },
      says: [message],
      saysNot: /k{39}|Device|device/,
    })),
  ];
}

interface Ended {
  code: number | null;
  text: string;
}

/** Starts the door as npm and deno do, with no terminal. */
function start({ words, env = {} }: Mistake): Promise<Ended> {
  const runtime = "Deno" in globalThis ? ["run", "-A", "--unstable-webgpu"] : [];
  const child = spawn(process.execPath, [...runtime, join(ROOT, "scripts/start.mjs"), ...words], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, npm_lifecycle_event: undefined, ...env },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part) => text += part);
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), AT_ONCE_MS);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, text });
    });
  });
}

describe("a mistake of the first hour", () => {
  const other = createServer((_request, response) => void response.end("<html>It works!</html>"));
  before(async () => {
    writeFiles();
    await new Promise<void>((ready) => other.listen(0, "127.0.0.1", ready));
  });
  after(() => other.close());

  const addressOfOther = () => `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  const begun = new Map<number, Promise<Ended>>();
  /** Starts it, unless the test before has: a start takes one core, and two run side by side. */
  function begin(index: number): Promise<Ended> {
    const ended = begun.get(index) ?? start(mistakes(addressOfOther())[index]);
    begun.set(index, ended);
    return ended;
  }
  const all = mistakes("");
  for (const [index, { number, typed }] of all.entries()) {
    it(`${number}: ${typed}`, async () => {
      const { words, says, saysNot, code = 1 } = mistakes(addressOfOther())[index];
      const current = begin(index);
      if (index + 1 < all.length) void begin(index + 1);
      const ended = await current;
      assert.equal(ended.code, code, `exit code of ${words.join(" ")}:\n${ended.text}`);
      for (const pattern of says) assert.match(ended.text, pattern);
      if (saysNot) assert.doesNotMatch(ended.text, saysNot);
      assert.doesNotMatch(ended.text, /^ +at .*:\d+:\d+\)?$/m, "no stack");
    });
  }

  it("18: scorer_url=file:PATH of a file that is not there yet waits", async () => {
    const words = ["train", ...set(`scorer_url=file:${scratch("later.url")}`, out())];
    const program = startProgram(words);
    await program.says(/Waiting for the scorer's address in .*later\.url/);
    program.signal("SIGTERM");
    await program.says(/SIGTERM: ended before the first step/);
    assert.equal((await program.finished).code, 143);
  });

  const NO_BASH = NO_SHELL || (!existsSync("/bin/bash") && "the jobs are scripts of bash");
  it(
    "29: slurm/run.sh with --array=7",
    { skip: leftOut("slurm/run.sh with --array=7", NO_BASH) },
    async () => {
      const env = { ...process.env, SLURM_ARRAY_TASK_ID: "7", SCORER_URL: "http://127.0.0.1:1" };
      const job = spawn("bash", [join(ROOT, "slurm/run.sh")], {
        cwd: ROOT,
        env,
        stdio: ["ignore", "ignore", "pipe"],
      });
      let text = "";
      job.stderr.setEncoding("utf8").on("data", (part) => text += part);
      assert.equal(await new Promise((resolve) => job.on("close", resolve)), 1);
      assert.match(text, /4 betas, task 7: .*submit with --array=0-3/);
    },
  );

  it(
    "30: no Vulkan, and no sudo",
    { skip: leftOut("no Vulkan, and no sudo", NO_SHELL || NO_USER) },
    () =>
      withCheckout(async ({ root, start }) => {
        writeStub(join(root, "bin/sudo"), "exit 1");
        const began = performance.now();
        const { code, stderr } = await start(["train"], {}, AS_USER);
        assert.equal(code, 1);
        assert.match(
          stderr,
          /needs root\. Run this once, then start again:\n\n {2}sudo .*setup_vulkan\.mjs\n/,
        );
        assert.ok(performance.now() - began < AT_ONCE_MS);
      }),
  );
});
