/** The `data` command: what it makes of prompts that are here, and what it says of words that are none of its own. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { dataCommand } from "../../src/cli/data.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const refused = (words: string, message: RegExp) =>
  assert.rejects(dataCommand(words.split(" ").filter((word) => word !== "")), message);

describe("data", () => {
  it("without the name of a prompt set, or with another, names those that there are", async () => {
    await refused(
      "",
      /data needs the name of a prompt set behind it \(pku\), got nothing; ".*data pku .*--help"/,
    );
    await refused("pk", /got "pk"; did you mean "pku"\?/);
    await refused("--train 5 pku", /behind it \(pku\), got "--train"/);
  });

  it("pku says of a wrong word what is required, what was found and what to type", async () => {
    await refused("pku --trian 5", /unknown option --trian; did you mean --train\?/);
    await refused(
      "pku 5",
      /unexpected "5": data pku takes options alone; ".*data pku .*--help" lists the options/,
    );
    for (const count of ["0", "1.5", "1e10", "x"]) {
      await refused(
        `pku --eval ${count}`,
        /'--eval <count>' argument .* Required a whole number >= 1 below 2\^32; /,
      );
    }
    await refused("pku --seed -1", /whole number >= 0/);
    await refused("pku --seed 1 --seed 2", /--seed is given twice, as 1 and 2; give one/);
    await refused("pku --from a --from hf:b/c", /--from is given twice/);
  });

  it("pku draws from a file, and takes ~ for the home folder where an option is joined to its path", () =>
    withScratchFolder(async (folder) => {
      const { HOME } = process.env;
      process.env.HOME = folder;
      const { write } = process.stdout;
      process.stdout.write = () => true;
      try {
        const rows = ["a", "b", "c"].map((prompt) => `${JSON.stringify({ prompt })}\n`).join("");
        await writeFile(join(folder, "rows.jsonl"), rows);
        const words = ["--train", "2", "--eval=1", "--from=~/rows.jsonl", "--output=~/set"];
        assert.equal(await dataCommand(["pku", ...words]), 0);
      } finally {
        process.stdout.write = write;
        process.env.HOME = HOME;
      }
      const prompts = await Promise.all(
        ["train", "eval"].map((part) => readFile(join(folder, "set", `${part}.jsonl`), "utf8")),
      );
      assert.deepEqual(prompts.map((text) => text.trim().split("\n").length), [2, 1]);
      assert.deepEqual(
        prompts.join("").trim().split("\n").sort(),
        ["a", "b", "c"].map((prompt) => `{"prompt":"${prompt}"}`),
      );
    }));
});
