/** The options that commands share, as a user types them. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { configCommand, type ConfigOptions, readConfig } from "../../src/cli/options.ts";
import { withScratchFolder } from "./scratch_folder.ts";

/** A command that throws where the program would end. */
const command = () =>
  configCommand("train", "").exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
const optionsOf = (...args: string[]) => command().parse(args, { from: "user" }).opts<ConfigOptions>();

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
        "--set",
        "seed=2",
      ];
      const config = await readConfig(
        optionsOf("--config", file, ...set, "--beta", "0.1,0.2", "--seed", "5"),
      );
      assert.deepEqual(
        [config.max_steps, config.save_steps, config.seed, config.beta],
        [9, 4, 5, [0.1, 0.2]],
      );
    }));

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
  });

  it("name the file that cannot be read", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "mistyped.yaml");
      await assert.rejects(readConfig(optionsOf("--config", file)), (error: Error) => {
        assert.ok(error.message.includes(file), error.message);
        return true;
      });
    }));

  it("without --set, and options that there are not, are refused and not passed over", () => {
    assert.throws(() => optionsOf("max_steps=5"), { code: "commander.excessArguments" });
    assert.throws(() => optionsOf("--max_steps=5"), { code: "commander.unknownOption" });
  });
});
