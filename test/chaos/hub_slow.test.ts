/** A slow hub: what counts is how long nothing came, not how long it takes. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { fetchModel } from "../../src/io/hub/cache.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { startFakeHub } from "./fake_hub.ts";

const PIECES = 8;
/** Long enough that a busy machine does not make a pause of it, short enough for a test. */
const IDLE_MS = 2000;
const PAUSE_MS = IDLE_MS * 1.5 / PIECES;

it("a download that takes longer than the limit of silence goes on as long as something comes", async () => {
  const weights = new Uint8Array(PIECES * 1000).map((_, i) => i % 251);
  const hub = await startFakeHub({
    "config.json": "{}",
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "model.safetensors": weights,
  });
  let answers = 0;
  hub.intervene = ({ path }, response) => {
    if (!path.endsWith("/model.safetensors")) return false;
    answers++;
    response.writeHead(200, { "content-length": weights.length });
    let sent = 0;
    const send = () => {
      response.write(weights.subarray(1000 * sent, 1000 * ++sent));
      if (sent < PIECES) setTimeout(send, PAUSE_MS);
      else response.end();
    };
    send();
    return true;
  };
  try {
    await withScratchFolder(async (cacheDir) => {
      const settings = { endpoint: hub.endpoint, cacheDir, offline: false, retryDelayMs: 5 };
      const { dir } = await fetchModel({ id: "org/name", revision: undefined }, {
        ...settings,
        idleTimeoutMs: IDLE_MS,
      });
      assert.deepEqual(new Uint8Array(await readFile(join(dir, "model.safetensors"))), weights);
      assert.equal(answers, 1, "it was not taken up again");
    });
  } finally {
    await hub.close();
  }
});
