/** `doctor` with a model that lies on a hub alone: it says so, and downloads nothing. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { COMMIT, startFakeHub } from "../chaos/fake_hub.ts";
import { inScratchFolder, ROOT, runProgram } from "./program.ts";

const folder = join(ROOT, "models/quickstart/policy");
const files = Object.fromEntries(
  readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
);

it("doctor says that the first run downloads the model, and that its memory is known then", async () => {
  const hub = await startFakeHub(files);
  try {
    await inScratchFolder(async (scratch) => {
      const cache = join(scratch, "cache");
      Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: cache });
      const output = ["--set", `output_dir=${JSON.stringify(scratch)}`];
      const found = await runProgram(["doctor", "--set", "model_name=org/name", ...output]);
      assert.equal(found.code, 0, found.output);
      const lines = found.output.split("\n");
      assert.match(
        lines.find((line) => line.includes(" model_name "))!,
        /ok .*org\/name@.*on the hub; the first run/,
      );
      const memory = lines.slice(lines.indexOf("GPU memory"));
      assert.match(memory[1], new RegExp(`note +training +known once org/name@${COMMIT} is downloaded`));
      assert.match(found.output, /\nReady: /);
      const downloads = hub.requests.map(({ path }) => path).filter((path) => path.includes("/resolve/"));
      assert.deepEqual(downloads, []);
      assert.equal(existsSync(join(cache, "hub")), false);
    });
  } finally {
    delete process.env.HF_ENDPOINT;
    delete process.env.HF_HOME;
    await hub.close();
  }
});
