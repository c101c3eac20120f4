/** The options that commands share, as a user types them. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Command } from "commander";
import { NPM_OPTIONS } from "../../scripts/npm_options.mjs";
import { parseArguments } from "../../src/cli/arguments.ts";
import { defaultFolder } from "../../src/cli/eval_subjects.ts";
import { configCommand, type ConfigOptions, defaultsNotices, readConfig } from "../../src/cli/options.ts";
import { withLaunchOptions } from "../../src/cli/launch_options.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const optionsOf = (...args: string[]) =>
  parseArguments(configCommand("train", ""), args).opts<ConfigOptions>();

describe("the settings of a command", () => {
  it("are those of the file, then every --set in turn, then --beta and --seed", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "run.yaml");
      await writeFile(file, "max_steps: 7\nsave_steps: 3\nseed: 1\nbeta: 0.5\n");
      const plain = await readConfig(optionsOf("--config", file));
      assert.deepEqual([plain.max_steps, plain.save_steps, plain.seed, plain.beta], [7, 3, 1, 0.5]);
      const set = [
        "--set",
        "max_steps=8",
        "--set",
        "save_steps=4",
        "--set",
        "max_steps=9",
      ];
      const config = await readConfig(
        optionsOf("--config", file, ...set, "--beta", "0.1,0.2", "--seed", "5"),
      );
      assert.deepEqual(
        [config.max_steps, config.save_steps, config.seed, config.beta],
        [9, 4, 5, [0.1, 0.2]],
      );
    }));

  it("are said to be of the first run's tiny model where another gets them without --config", async () => {
    const noticesOf = async (...args: string[]) => {
      const command = parseArguments(configCommand("train", ""), args);
      return defaultsNotices(command, await readConfig(command.opts<ConfigOptions>()));
    };
    const own = ["--set", "model_name=/models/own"];
    const [notice] = await noticesOf(...own);
    assert.match(notice, /^no --config, .*learning_rate 0\.001, .*--config configs\/grpo_alignment\.yaml$/);
    assert.deepEqual(await noticesOf(), []);
    assert.deepEqual(await noticesOf(...own, "--config", "configs/quickstart.yaml"), []);
  });

  it("take the scorer's address, or the file that it will stand in, and nothing else", async () => {
    const urlOf = async (text: string) =>
      (await readConfig(optionsOf("--set", `scorer_url=${text}`))).scorer_url;
    for (
      const text of ["http://host:8000", "https://host/scorer", "file:/shared/url", "file:outputs/a url"]
    ) {
      assert.equal(await urlOf(text), text);
    }
    assert.equal(await urlOf("null"), null);
    for (const text of ["file:", "profile:/shared/url", "/shared/url", "host:8000", "ftp://host"]) {
      await assert.rejects(
        urlOf(text),
        /scorer_url must be an http:\/\/ or https:\/\/ address, file:PATH/,
        text,
      );
    }
    await assert.rejects(
      urlOf("localhost:8000"),
      /got the string "localhost:8000"; try "http:\/\/localhost:8000"$/,
    );
  });

  it("name the file that cannot be read", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "mistyped.yaml");
      await assert.rejects(readConfig(optionsOf("--config", file)), (error: Error) => {
        assert.ok(error.message.includes(file), error.message);
        return true;
      });
    }));

  it("that are a folder, or no text, are refused by name", () =>
    withScratchFolder(async (folder) => {
      await assert.rejects(readConfig(optionsOf("--config", folder)), /required a file, but it is a folder/);
      const file = join(folder, "weights");
      await writeFile(file, "seed: 1\n\0");
      await assert.rejects(
        readConfig(optionsOf("--config", file)),
        /required a YAML file, got one that is no text/,
      );
      await writeFile(file, "#".repeat((1 << 20) + 1));
      await assert.rejects(readConfig(optionsOf("--config", file)), /at most 1048576 bytes, got 1048577/);
    }));

  it("take several --beta as one sweep", async () => {
    const { beta } = await readConfig(optionsOf("--beta", "0.01", "--beta", "0.05,0.1"));
    assert.deepEqual(beta, [0.01, 0.05, 0.1]);
  });

  it("that are given twice are refused, and both are named", async () => {
    const twice = /beta is given twice, by --beta 0.01 and by --set beta=0.5; give one of them/;
    await assert.rejects(readConfig(optionsOf("--beta", "0.01", "--set", "beta=0.5")), twice);
    await assert.rejects(
      readConfig(optionsOf("--seed", "1", "--set", " seed = 2")),
      /by --seed 1 and by --set +seed = 2/,
    );
    assert.throws(
      () => optionsOf("--seed", "1", "--seed", "2"),
      /--seed is given twice, as 1 and 2; give one/,
    );
    assert.throws(() => optionsOf("--config=a", "--config=b"), /--config is given twice, as a and b/);
  });

  it("have the home folder for ~, also where no shell writes it out", async () => {
    const { output_dir } = await readConfig(optionsOf("--set", "output_dir=~/runs"));
    assert.equal(output_dir, `${homedir()}/runs`);
    await assert.rejects(readConfig(optionsOf("--config=~/no/such.yaml")), (error: Error) => {
      assert.ok(error.message.includes(`'${homedir()}/no/such.yaml'`), error.message);
      return true;
    });
  });
});

describe("an option that there is not", () => {
  const refusal = (...args: string[]) => {
    try {
      optionsOf(...args);
    } catch (error) {
      return (error as Error).message;
    }
    return assert.fail("the options were taken");
  };

  it("and that is a setting is answered with the --set that was meant", () => {
    assert.equal(
      refusal("--learning_rate", "1e-4"),
      "unknown option --learning_rate; use --set learning_rate=1e-4",
    );
    assert.match(refusal("--learning-rate=1e-4"), /use --set learning_rate=1e-4$/);
    assert.match(refusal("--max_steps", "--dry-run"), /use --set max_steps=VALUE$/);
    assert.match(
      refusal("max_steps=5"),
      /^unexpected "max_steps=5": train takes options alone; use --set max_steps=5$/,
    );
  });

  it("is answered with the nearest, or with where they are listed", () => {
    assert.match(refusal("--bata", "0.1"), /^unknown option --bata; did you mean --beta\?$/);
    assert.match(refusal("--dryrun"), /did you mean --dry-run\?/);
    assert.match(refusal("--wandb"), /train (-- )?--help" lists the options$/);
    assert.match(refusal("--config"), /argument missing; ".*train (-- )?--help" lists/);
    assert.match(refusal("x"), /^unexpected "x": .*train (-- )?--help" lists/);
  });
});

it("options that npm may keep for itself are those that the commands have", async () => {
  for (const [task, options] of Object.entries(NPM_OPTIONS)) {
    const elsewhere: Record<string, string> = {
      doctor: "src/cli/doctor/doctor.ts",
      "es-replay": "src/cli/es_replay.ts",
      "gpu-report": "bench/gpu_report/command.ts",
      chaos: "test/chaos_runs/run.ts",
    };
    const file = elsewhere[task] ?? `src/cli/${task}.ts`;
    const source = await readFile(new URL(`../../${file}`, import.meta.url), "utf8");
    const command = source.includes("configCommand(") ? configCommand(task, "") : new Command();
    if (source.includes("withLaunchOptions(")) withLaunchOptions(command);
    const shared = command.options.map(({ long }) => long!);
    const own = [...source.matchAll(/"(--[\w-]+) ?(<|")/g)].map(([, long]) => long);
    const names = new Set([...shared, ...own].map((long) => long.slice(2).replaceAll("-", "_")));
    assert.deepEqual([...names].sort(), Object.keys(options).sort(), task);
  }
});

describe("the results of eval", () => {
  it("lie in the model's own folder; of a model from a hub in one of its name", () =>
    withScratchFolder(async (folder) => {
      const folderOf = async (name: string) => {
        const config = await readConfig(optionsOf("--set", `model_name=${name}`, "--set", "output_dir=out"));
        return await defaultFolder([{ kind: "model", name, tag: "a" }], undefined, config);
      };
      assert.equal(await folderOf(folder), join(folder, "eval"));
      assert.equal(await folderOf("org/name@main"), join("out", "eval", "org--name@main"));
      assert.equal(await folderOf("org/other"), join("out", "eval", "org--other"));
    }));
});
