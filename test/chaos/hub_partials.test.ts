/** What earlier tries left in the cache, and what a hub may answer. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fetchModel, type HubSettings, lookUpModel } from "../../src/io/hub/cache.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { COMMIT, type FakeHub, gitBlobId, sha256, startFakeHub } from "./fake_hub.ts";

const NAME = { id: "org/name", revision: undefined };
const WEIGHTS = Uint8Array.from({ length: 500_000 }, (_, i) => (i * 2654435761) >>> 24);
const MODEL = { "config.json": "{}", "tokenizer.model": "t", "model.safetensors": WEIGHTS };

interface Scene {
  hub: FakeHub;
  settings: HubSettings;
  blobs: string;
  /** Range of each request for the weights. */
  ranges(): (string | undefined)[];
  /** Writes a partial file of the weights that `owner` left so many minutes ago. */
  leavePartial(owner: string, content: Uint8Array, minutes?: number): Promise<void>;
}

async function withHub(body: (scene: Scene) => Promise<void>): Promise<void> {
  const hub = await startFakeHub(MODEL);
  try {
    await withScratchFolder(async (cacheDir) => {
      const blobs = join(cacheDir, "models--org--name", "blobs");
      await mkdir(blobs, { recursive: true });
      await body({
        hub,
        settings: { endpoint: hub.endpoint, cacheDir, offline: false, retryDelayMs: 1 },
        blobs,
        ranges: () =>
          hub.requests.filter(({ path }) => path === "/model.safetensors").map(({ range }) => range),
        leavePartial: async (owner, content, minutes = 0) => {
          const path = join(blobs, `${sha256(WEIGHTS)}.${owner}.incomplete`);
          await writeFile(path, content);
          const then = Date.now() / 1000 - 60 * minutes;
          await utimes(path, then, then);
        },
      });
    });
  } finally {
    await hub.close();
  }
}

const begun = (length: number) => WEIGHTS.subarray(0, length);
const OWN = `${hostname()}-${process.pid}`;
const HALF = new RegExp("incomplete$");

describe("a partial file", () => {
  it("of another machine is taken over once nobody has written it for ten minutes", () =>
    withHub(async ({ settings, leavePartial, ranges, blobs }) => {
      await leavePartial("elsewhere-7", begun(300_000), 11);
      await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), ["bytes=300000-"]);
      assert.deepEqual((await readdir(blobs)).filter((name) => HALF.test(name)), []);
    }));

  it("of another machine that was written lately is left alone", () =>
    withHub(async ({ settings, leavePartial, ranges, blobs }) => {
      await leavePartial("elsewhere-7", begun(300_000), 9);
      await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), [undefined]);
      assert.deepEqual((await readdir(blobs)).filter((name) => HALF.test(name)).length, 1);
    }));

  it("that is the largest of several is taken, and the others are removed", () =>
    withHub(async ({ settings, leavePartial, ranges, blobs }) => {
      await leavePartial("a-1", begun(100), 20);
      await leavePartial("b-1", begun(2000), 20);
      await leavePartial("c-1", begun(300), 20);
      await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), ["bytes=2000-"]);
      assert.deepEqual((await readdir(blobs)).filter((name) => HALF.test(name)), []);
    }));

  it("of another file is not taken for this one's", () =>
    withHub(async ({ settings, ranges, blobs }) => {
      await writeFile(join(blobs, `${"0".repeat(64)}.${OWN}.incomplete`), begun(300));
      await writeFile(join(blobs, `${sha256(WEIGHTS)}.${OWN}.other`), begun(300));
      await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), [undefined]);
    }));

  it("that holds more than the file is begun anew; one that holds all of it needs no request", () =>
    withHub(async ({ hub, settings, leavePartial, ranges }) => {
      await leavePartial(OWN, WEIGHTS);
      await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), []);
      hub.commit = "f".repeat(40);
      hub.files.set("model.safetensors", begun(100));
      const longer = join(
        settings.cacheDir,
        "models--org--name",
        "blobs",
        `${sha256(begun(100))}.${OWN}.incomplete`,
      );
      await writeFile(longer, begun(101));
      const { dir } = await fetchModel(NAME, settings);
      assert.deepEqual(ranges(), [undefined]);
      assert.deepEqual(new Uint8Array(await readFile(join(dir, "model.safetensors"))), begun(100));
    }));
});

describe("a hub", () => {
  it("that sends more than it lists is refused, and nothing of it is gone on from", () =>
    withHub(async ({ hub, settings, blobs }) => {
      hub.listedAs.set("model.safetensors", begun(499_999));
      await assert.rejects(fetchModel(NAME, settings), /sent more than the 499999 bytes it lists/);
      for (const name of await readdir(blobs)) {
        if (HALF.test(name)) assert.equal((await readFile(join(blobs, name))).length, 0);
      }
    }));

  it("that stays busy is asked five times, and no more", () =>
    withHub(async ({ hub, settings }) => {
      hub.intervene = (_, response) => !!response.writeHead(503).end();
      await assert.rejects(fetchModel(NAME, settings), /answered 503, 5 times in a row; check the network/);
      assert.equal(hub.requests.length, 5);
    }));

  for (const status of [408, 429, 500, 504]) {
    it(`is asked again after ${status}`, () =>
      withHub(async ({ hub, settings }) => {
        let refusals = 4;
        hub.intervene = (_, response) => refusals-- > 0 && !!response.writeHead(status).end();
        assert.equal((await fetchModel(NAME, settings)).commit, COMMIT);
      }));
  }

  const final: [number, Record<string, string>, string | undefined, RegExp][] = [
    [401, {}, undefined, /access is restricted; .*set HF_TOKEN to a token of that account/],
    [403, {}, "t", /access is restricted; .*take a token in HF_TOKEN of that account/],
    [404, {}, undefined, /no model "org\/name" there/],
    [418, {}, undefined, /answered 418; is HF_ENDPOINT a Hugging Face hub\?/],
  ];
  for (const [status, headers, token, words] of final) {
    it(`is not asked again after ${status}`, () =>
      withHub(async ({ hub, settings }) => {
        hub.intervene = (_, response) => !!response.writeHead(status, headers).end();
        await assert.rejects(fetchModel(NAME, { ...settings, token }), words);
        assert.equal(hub.requests.length, 1);
      }));
  }

  it("that lists a file that it does not have is told so", () =>
    withHub(async ({ hub, settings }) => {
      hub.intervene = ({ path }, response) => path.includes("/resolve/") && !!response.writeHead(404).end();
      await assert.rejects(
        fetchModel(NAME, settings),
        /config\.json of .*lists this file but does not have it/,
      );
    }));

  it("is asked for bytes as they are, since a compressed answer has other positions", () =>
    withHub(async ({ hub, settings }) => {
      const encodings = new Set<unknown>();
      const { intervene } = hub;
      hub.intervene = (request, response) => {
        encodings.add(response.req.headers["accept-encoding"]);
        return intervene(request, response);
      };
      await fetchModel(NAME, settings);
      assert.deepEqual([...encodings], ["identity"]);
    }));
});

describe("the cache", () => {
  it("goes by the commit that a branch stands for now, and asks nothing of a commit that it holds", () =>
    withHub(async ({ hub, settings }) => {
      await fetchModel(NAME, settings);
      hub.commit = "f".repeat(40);
      hub.requests.length = 0;
      assert.equal((await lookUpModel(NAME, settings)).commit, COMMIT);
      assert.deepEqual(hub.requests, []);
      assert.equal((await fetchModel(NAME, settings)).commit, hub.commit);
      assert.equal((await fetchModel(NAME, { ...settings, offline: true })).commit, hub.commit);
    }));

  it("replaces a link that leads to a blob that is gone, and leaves one that leads somewhere", () =>
    withHub(async ({ settings, blobs }) => {
      const { dir } = await fetchModel(NAME, settings);
      for (const name of ["config.json", "model.safetensors"]) await rm(join(dir, name));
      await symlink(join("..", "..", "blobs", "gone"), join(dir, "model.safetensors"));
      await writeFile(join(dir, "config.json"), "of another process");
      await fetchModel({ ...NAME, revision: COMMIT }, settings);
      assert.deepEqual(new Uint8Array(await readFile(join(dir, "model.safetensors"))), WEIGHTS);
      assert.equal(await readFile(join(dir, "config.json"), "utf8"), "of another process");
      assert.ok((await readdir(blobs)).includes(sha256(WEIGHTS)));
    }));

  it("holds small files by git's blob id", () =>
    withHub(async ({ settings, blobs }) => {
      await fetchModel(NAME, settings);
      const id = gitBlobId(new TextEncoder().encode("{}"));
      assert.equal(await readFile(join(blobs, id), "utf8"), "{}");
    }));
});
