/** What the pages promise is so: commands are typed as they stand there, answers look as they are shown. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, it } from "node:test";
import { parse } from "yaml";
import packageFile from "../../package.json" with { type: "json" };
import { Command as Program } from "commander";
import { withLaunchOptions } from "../../src/cli/launch_options.ts";
import { configCommand, type ConfigOptions, readConfig } from "../../src/cli/options.ts";
import { CONFIG_KEYS, ConfigSchema, fieldMeta, isConfigKey } from "../../src/config/schema.ts";
import { OTHER_NAMES, TRL_KEYS } from "../../src/config/trl_keys.ts";
import { METRIC_NAMES } from "../../src/tracking/metrics.ts";
import { leftOut } from "../left_out.ts";
import { filesUnder } from "../unit/source_files.ts";
import { capture, scratch } from "./config_run.ts";
import { anchorsOf, blocksOf, type Command, commandsOf, linksOf, readPages, spansOf } from "./docs_text.ts";
import { ROOT, startProgram } from "./program.ts";

const PAGES = readPages();
const COMMANDS = PAGES.flatMap(commandsOf);
const page = (path: string) => PAGES.find((one) => one.path === path)!;
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** Where each task says its options. */
const SOURCES: Readonly<Record<string, string>> = {
  train: "src/cli/train.ts",
  eval: "src/cli/eval.ts",
  judge: "src/cli/judge.ts",
  scorer: "src/cli/scorer.ts",
  data: "src/cli/data.ts",
  report: "src/cli/report.ts",
  rollouts: "src/cli/rollouts.ts",
  "es-replay": "src/cli/es_replay.ts",
  doctor: "src/cli/doctor/doctor.ts",
  slurm: "src/cli/slurm.ts",
  bench: "bench/run.ts",
  chaos: "test/chaos_runs/run.ts",
  mutants: "test/mutants/run.ts",
  parity: "test/parity/run.ts",
};

function optionsOf(task: string): Set<string> {
  const source = Object.hasOwn(SOURCES, task) ? read(SOURCES[task]) : "";
  const shared = source.includes("configCommand(") ? configCommand(task, "").options : [];
  const launching = source.includes("withLaunchOptions(") ? withLaunchOptions(new Program()).options : [];
  const own = [...source.matchAll(/"(?:-\w, )?(--[\w-]+)[ "]/g)].map(([, long]) => long);
  return new Set(["--help", ...[...shared, ...launching].map(({ long }) => long!), ...own]);
}

/** What stands in a page for a name of the reader's own. */
const EXAMPLES: Readonly<Record<string, string>> = {
  FILE: "configs/quickstart.yaml",
  "run.yaml": "configs/quickstart.yaml",
  NAME: "models/quickstart/policy",
};
/** A module of the reader's own, with functions of the names that pages give it. */
const OWN_MODULE = "rewards.ts";
const OWN_FUNCTIONS = ["brief", "on_topic"].map((name) => `export const ${name} = () => [];\n`).join("");
/** Functions of Python's libraries that pages name. */
const PYTHON_NAMES = /^(apply_chat_template|save_pretrained)$/;
/** Fields of a kept completion that have two words. */
const ROLLOUT_FIELDS = /^(prompt_ids|completion_ids|ref_logprobs)$/;
/** Where a reader's quickstart has left its model; here a copy of the policy stands for it. */
const TRAINED = "outputs/quickstart/beta0.02_seed42_unified";
/** Answers of the reader's own, and a list of models. */
const OWN_FILES: Readonly<Record<string, string>> = {
  "answers.jsonl": '{"prompt":"a","response":"b","reward":1,"cost":1}\n',
  "base_points.jsonl": '{"prompt":"a","response":"b","reward":1,"cost":1}\n',
  "models.yaml": "mine: models/quickstart/policy\n",
};
/** Say what is evaluated, so that model_name does not. */
const SUBJECTS = ["--model", "--models", "--scored", "--responses"];
const typedOf = ({ words }: Command) =>
  words.map((word) =>
    Object.hasOwn(OWN_FILES, word)
      ? scratch(word)
      : word === TRAINED
      ? scratch("trained")
      : EXAMPLES[word] ?? word.replaceAll(`${OWN_MODULE}#`, `${scratch(OWN_MODULE)}#`)
  );

/** Whether some setting takes the name as a word, as `lambda_rule` takes log_ema. */
const isWordOfSettings = (name: string) =>
  CONFIG_KEYS.some((key) => fieldMeta(key).requirement.includes(`"${name}"`));

/** Models and prompts of the quickstart in the place of those that a reader downloads. */
const HERE = {
  model_name: "models/quickstart/policy",
  train_jsonl: "models/quickstart/train_prompts.jsonl",
  eval_jsonl: "models/quickstart/eval_prompts.jsonl",
};

describe("a command of a page", () => {
  it("starts a task that there is, with options that it has", () => {
    const started = COMMANDS.filter(({ task }) => task !== undefined && !/^[A-Z<]/.test(task));
    assert.ok(started.length > 25, `${started.length} commands were found`);
    for (const { task, words, line, page } of started) {
      assert.ok(Object.hasOwn(packageFile.scripts, task!), `${page}: ${line}: there is no task ${task}`);
      const known = optionsOf(task!);
      const unknown = words.map((word) => word.split("=")[0]).filter((word) =>
        word.startsWith("--") && !known.has(word)
      );
      assert.deepEqual(unknown, [], `${page}: ${line}`);
    }
  });

  it("names files of the project that there are", () => {
    const own = /^\$?\w*=?((?:configs|docs|examples|scripts|slurm|models\/quickstart)\/[\w./-]+)$/;
    const missing = COMMANDS.flatMap(({ words, page }) =>
      words.flatMap((word) => own.exec(word)?.[1] ?? []).filter((path) => !existsSync(join(ROOT, path)))
        .map((path) => `${page}: ${path}`)
    );
    assert.deepEqual(missing, []);
  });

  it("of train and eval runs as it stands, up to --dry-run, with the quickstart's models", async () => {
    const { trainCommand } = await import("../../src/cli/train.ts");
    const { evalCommand } = await import("../../src/cli/eval.ts");
    const commands = COMMANDS.filter(({ task }) => task === "train" || task === "eval");
    assert.ok(commands.length >= 6, `${commands.length} commands were found`);
    writeFileSync(scratch(OWN_MODULE), OWN_FUNCTIONS);
    cpSync(join(ROOT, HERE.model_name), scratch("trained"), { recursive: true });
    for (const [name, text] of Object.entries(OWN_FILES)) writeFileSync(scratch(name), text);
    for (const command of commands) {
      const isNamed = command.words.some((word) => SUBJECTS.includes(word));
      const models = Object.entries(HERE).filter(([key]) => !isNamed || key !== "model_name")
        .flatMap(([key, path]) => ["--set", `${key}=${path}`]);
      const args = [...typedOf(command), ...models, "--set", `output_dir=${scratch("out")}`, "--dry-run"];
      const { code, error, output } = await capture(() =>
        (command.task === "train" ? trainCommand : evalCommand)(args)
      );
      assert.equal(error, null, `${command.page}: ${command.line}`);
      assert.equal(code, 0);
      assert.match(output, command.task === "train" ? /^# steps +\d+, of /m : /^# eval prompts /m);
    }
  });

  it("of doctor has settings that are valid", async () => {
    for (const command of COMMANDS.filter(({ task }) => task === "doctor")) {
      const parsed = withLaunchOptions(configCommand("doctor", "")).option("--model <name>")
        .option("--gpu <name>").option("--ranks <number>").parse(typedOf(command), { from: "user" });
      const options = parsed.opts<ConfigOptions & { ranks?: string }>();
      await readConfig(options, { size: Number(options.ranks ?? 1), deepspeed: undefined });
    }
  });

  it("that submits a job sets variables that the job reads", () => {
    const jobs = COMMANDS.flatMap((command) => {
      const script = command.words.find((word) => /^slurm\/\w+\.sh$/.test(word));
      return script === undefined ? [] : [{ ...command, script }];
    });
    assert.ok(jobs.length >= 3, `${jobs.length} jobs were found`);
    for (const { variables, script, line } of jobs) {
      const unread = variables.filter((name) => !new RegExp(`\\$\\{${name}\\b`).test(read(script)));
      assert.deepEqual(unread, [], line);
    }
  });

  it("names the folder of a run where a run of configs/ writes it", () => {
    const folders = filesUnder("configs", ".yaml").map((path) => String(parse(read(path)).output_dir));
    // The measurements' runs have folders of their own, which their commands name.
    const typed = PAGES.filter(({ path }) => path !== "docs/measurements.md");
    const texts = [...typed, ...filesUnder("slurm", ".sh").map((path) => ({ path, text: read(path) }))];
    for (const { path, text } of texts) {
      for (const [run] of text.matchAll(/\boutputs\/[\w./*-]*_unified\b/g)) {
        assert.ok(folders.includes(dirname(run)), `${path}: ${run} lies in none of ${folders.join(", ")}`);
      }
    }
  });
});

/** Those of users; the others name what is in the code. */
const USER_PAGES = PAGES.filter(({ path }) => path === "README.md" || path.startsWith("docs/"));

describe("a page", () => {
  it("links to pages, headings and files that there are", () => {
    const broken = PAGES.flatMap((from) =>
      linksOf(from).filter((link) => {
        const [path, anchor] = link.split("#");
        const target = path === "" ? from.path : normalize(join(dirname(from.path), path));
        if (!existsSync(join(ROOT, target))) return true;
        return anchor !== undefined && !anchorsOf(page(target)).has(anchor);
      }).map((link) => `${from.path}: ${link}`)
    );
    assert.deepEqual(broken, []);
  });

  it("imports from the library what it exports, and gives it settings that there are", () => {
    const exported = read("src/index.ts");
    for (
      const { path, block } of PAGES.flatMap((one) =>
        blocksOf(one, "ts").map((block) => ({ path: one.path, block }))
      )
    ) {
      const [, imported = ""] = /import \{([^}]*)\} from "grpo-webgpu"/.exec(block) ?? [];
      const missing = imported.split(",").map((name) => name.trim()).filter((name) =>
        name !== "" && !new RegExp(`\\b${name}\\b`).test(exported)
      );
      const settings = [...block.matchAll(/config: \{([^}]*)\}/g)]
        .flatMap(([, list]) => [...list.matchAll(/(\w+):/g)].map(([, key]) => key));
      assert.deepEqual([missing, settings.filter((key) => !isConfigKey(key))], [[], []], path);
    }
  });

  it("names settings that there are, with values that they take", () => {
    const options = new Set(Object.keys(SOURCES).flatMap((task) => [...optionsOf(task)]));
    const ofOthers = { ...TRL_KEYS, ...OTHER_NAMES };
    // Keys of {model}_summary.json and {model}_points.jsonl.
    const ofEvaluations = ["summary", "points"].map((name) => read(`src/evaluate/${name}.ts`)).join("");
    for (const user of USER_PAGES) {
      const { path } = user;
      for (const span of spansOf(user)) {
        const [, name = "", value] = /^([a-z]+(?:_[a-z]+)+)(?:(?:: |=)(.+))?$/.exec(span) ?? [];
        if (name === "" || PYTHON_NAMES.test(name) || ROLLOUT_FIELDS.test(name)) continue;
        const isKnown = isConfigKey(name) || new RegExp(`\\b${name}\\b`).test(ofEvaluations) ||
          options.has(`--${name}`) || Object.hasOwn(ofOthers, name) || isWordOfSettings(name) ||
          METRIC_NAMES.some((metric) => metric.split("/").includes(name));
        assert.ok(isKnown, `${path}: there is no ${span}`);
        if (!isConfigKey(name) || value === undefined || /[A-Z]{3}/.test(value)) continue;
        const { success } = ConfigSchema.shape[name].safeParse(parse(value));
        assert.ok(success, `${path}: ${name} does not take ${value}`);
      }
    }
  });
});

describe("docs/scorer.md", () => {
  const scorerPage = page("docs/scorer.md");

  it("shows examples/python_scorer.py as it is, which examples.test.ts trains with", () => {
    assert.deepEqual(blocksOf(scorerPage, "python"), [read("examples/python_scorer.py")]);
  });

  const hasCurl = ["curl", "bash"].every((program) => spawnSync(program, ["--version"]).status === 0);
  const skip = leftOut("the scorer's answers of docs/scorer.md", !hasCurl && "there is no curl or no bash");
  it("shows the answers that its scorer gives to its questions", { skip }, async () => {
    const [start] = commandsOf(scorerPage).filter(({ task }) => task === "scorer");
    const words = start.words.map((word) => word === "8000" ? "0" : word);
    assert.notDeepEqual(words, start.words, "the scorer's port is replaced by a free one");
    const program = startProgram(["scorer", ...words]);
    let url = "";
    await program.says(/available at http:\/\/\S+\n/);
    try {
      url = /available at (http:\S+)/.exec(program.said())![1];
      const questions = blocksOf(scorerPage, "sh").find((block) => block.startsWith("curl "))!;
      const script = questions.replaceAll("http://localhost:8000", url).replaceAll(
        "curl -s",
        "curl -sS -w '\\n'",
      );
      const got = execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
      const shown = blocksOf(scorerPage, "json")[0].trim().split("\n");
      assert.deepEqual(
        got.map((line) => shapeOf(JSON.parse(line))),
        shown.map((line) => shapeOf(JSON.parse(line))),
      );
      assert.match(got[0], /"status":"healthy"/);
    } finally {
      program.signal("SIGTERM");
      await program.finished;
    }
  });
});

/** A JSON value with the kinds of its values in their place. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, shapeOf(one)]));
}
