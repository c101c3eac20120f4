/** The address that a scorer service tells its clients. */
import assert from "node:assert/strict";
import { link, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { serveScorer } from "../../src/scorer/serve.ts";
import { writeScorerUrl } from "../../src/scorer/url.ts";
import { withScratchFolder } from "./scratch_folder.ts";

async function addressOn(host?: string): Promise<URL> {
  const scoreTexts = () => Promise.resolve({ rewards: [], costs: [] });
  const { url, close } = await serveScorer({ scoreTexts, device: "fake", hostname: host });
  await close();
  return new URL(url);
}

describe("a scorer's address", () => {
  it("names this machine where the service listens on all of its addresses: others can use it too", async () => {
    const { hostname: host, port } = await addressOn("0.0.0.0");
    assert.equal(host, hostname().toLowerCase());
    assert.notEqual(port, "");
  });

  it("is this machine's own alone where no host is given", async () => {
    assert.equal((await addressOn()).hostname, "127.0.0.1");
  });

  it("takes the place of the one before in one move: a reader sees the old file or the new one", () =>
    withScratchFolder(async (folder) => {
      const path = join(folder, "url");
      const reader = join(folder, "as the reader opened it");
      await writeScorerUrl(path, "http://old:1");
      await link(path, reader);
      await writeScorerUrl(path, "http://new:1");
      assert.equal(await readFile(reader, "utf8"), "http://old:1\n");
      assert.equal(await readFile(path, "utf8"), "http://new:1\n");
    }));
});
