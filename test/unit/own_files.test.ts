/** What comes with the program is found from any folder. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { ownFile } from "../../src/io/files/own_files.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

test("the quickstart's files are found from any folder, where that folder has none of the name", () =>
  withScratchFolder((folder) => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      assert.equal(ownFile("configs/quickstart.yaml"), join(ROOT, "configs/quickstart.yaml"));
      assert.equal(ownFile("models/quickstart/policy"), join(ROOT, "models/quickstart/policy"));
      mkdirSync("configs");
      writeFileSync("configs/quickstart.yaml", "");
      assert.equal(ownFile("configs/quickstart.yaml"), "configs/quickstart.yaml", "one's own file wins");
      for (
        const path of ["configs/none.yaml", "src/index.ts", "package.json", "../configs/quickstart.yaml"]
      ) {
        assert.equal(ownFile(path), path);
      }
    } finally {
      process.chdir(before);
    }
    return Promise.resolve();
  }));
