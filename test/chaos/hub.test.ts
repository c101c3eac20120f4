/** Models from a hub: what is fetched, and what happens when the connection, the disk or a process fails. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { lstat, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { fetchModel, type HubProgress, type HubSettings, lookUpModel } from "../../src/io/hub/cache.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { COMMIT, type FakeHub, sha256, startFakeHub } from "./fake_hub.ts";

const NAME = { id: "org/name", revision: undefined };
const WEIGHTS = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 2654435761) >>> 24);
const TEXTS = { "config.json": "{}", "tokenizer.json": "{ }", "tokenizer_config.json": "{  }" };
const MODEL = { ...TEXTS, "model.safetensors": WEIGHTS };

interface Scene {
  hub: FakeHub;
  settings: HubSettings;
  /** Of the model in the cache. */
  repo: string;
  /** Requests for the weights, by their range. */
  weightRanges(): (string | undefined)[];
}

/** Runs `body` with a hub that serves `files` and an empty cache. */
async function withHub(
  files: Record<string, Uint8Array | string>,
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const hub = await startFakeHub(files);
  try {
    await withScratchFolder((cacheDir) =>
      body({
        hub,
        settings: { endpoint: hub.endpoint, cacheDir, offline: false, retryDelayMs: 5 },
        repo: join(cacheDir, "models--org--name"),
        weightRanges: () =>
          hub.requests.filter(({ path }) => path === "/model.safetensors").map(({ range }) => range),
      })
    );
  } finally {
    await hub.close();
  }
}

const fetchedNames = ({ hub }: Scene) =>
  hub.requests.filter(({ path }) => path.includes("/resolve/")).map(({ path }) => path.split("/").at(-1));

describe("a download", () => {
  it("lays files out as huggingface_hub does: refs, blobs by hash, relative links in snapshots", () =>
    withHub(MODEL, async ({ settings, repo }) => {
      const model = await fetchModel(NAME, settings);
      assert.deepEqual(model, { id: "org/name", commit: COMMIT, dir: join(repo, "snapshots", COMMIT) });
      assert.equal(await readFile(join(repo, "refs/main"), "utf8"), COMMIT);
      assert.deepEqual((await readdir(model.dir)).sort(), Object.keys(MODEL).sort());
      const link = await readlink(join(model.dir, "model.safetensors"));
      assert.equal(link, join("..", "..", "blobs", sha256(WEIGHTS)));
      assert.deepEqual(new Uint8Array(await readFile(join(model.dir, "model.safetensors"))), WEIGHTS);
    }));

  it("fetches only what is needed: no second weight format, no folders, no other files", async () => {
    const others = {
      "README.md": "#",
      "pytorch_model.bin": WEIGHTS,
      "onnx/config.json": "{}",
      "a.msgpack": "",
    };
    await withHub({ ...MODEL, ...others }, async (scene) => {
      await fetchModel(NAME, scene.settings);
      assert.deepEqual(fetchedNames(scene).sort(), Object.keys(MODEL).sort());
    });
    await withHub({ ...TEXTS, "README.md": "#", "pytorch_model.bin": WEIGHTS }, async (scene) => {
      await fetchModel(NAME, scene.settings);
      assert.deepEqual(fetchedNames(scene).sort(), [...Object.keys(TEXTS), "pytorch_model.bin"].sort());
    });
  });

  it("of sharded weights: the shards that the index names, last", async () => {
    const index = JSON.stringify({
      weight_map: { a: "model-1-of-2.safetensors", b: "model-2-of-2.safetensors" },
    });
    const shards = {
      "model-1-of-2.safetensors": WEIGHTS,
      "model-2-of-2.safetensors": WEIGHTS.subarray(1),
      "consolidated.safetensors": WEIGHTS.subarray(2),
    };
    await withHub({ ...TEXTS, ...shards, "model.safetensors.index.json": index }, async (scene) => {
      await fetchModel(NAME, scene.settings);
      const names = fetchedNames(scene);
      assert.deepEqual(names.slice(-2), ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]);
      assert.equal(names.length, 6);
    });
  });

  it("says how many bytes of how many are there", () =>
    withHub(MODEL, async ({ settings }) => {
      const seen: HubProgress[] = [];
      await fetchModel(NAME, settings, (progress) => seen.push(progress));
      const totalBytes = WEIGHTS.byteLength + 2 + 3 + 4;
      assert.deepEqual(seen.at(-1), { id: "org/name", doneBytes: totalBytes, totalBytes });
      assert.ok(seen.every(({ doneBytes }, i) => i === 0 || doneBytes >= seen[i - 1].doneBytes));
    }));

  it("shows the token to the hub, and not to the host it redirects to", () =>
    withHub(MODEL, async ({ hub, settings }) => {
      await fetchModel(NAME, { ...settings, token: "hf_secret" });
      const shown = hub.requests.map((
        { path, authorization },
      ) => [path === "/model.safetensors", authorization]);
      assert.ok(shown.some(([isStorage]) => isStorage));
      for (const [isStorage, token] of shown) assert.equal(token, isStorage ? undefined : "Bearer hf_secret");
    }));
});

describe("the cache", () => {
  it("serves a full commit hash without network, and any revision when offline", () =>
    withHub(MODEL, async ({ hub, settings }) => {
      const { dir } = await fetchModel(NAME, settings);
      hub.requests.length = 0;
      assert.equal((await fetchModel({ ...NAME, revision: COMMIT }, settings)).dir, dir);
      assert.equal((await fetchModel(NAME, { ...settings, offline: true })).commit, COMMIT);
      assert.deepEqual(hub.requests, []);
    }));

  it("a branch is asked for again, and its files are not fetched again", () =>
    withHub(MODEL, async (scene) => {
      await fetchModel(NAME, scene.settings);
      scene.hub.requests.length = 0;
      await fetchModel(NAME, scene.settings);
      assert.deepEqual(scene.hub.requests.map(({ path }) => path), [
        "/api/models/org/name/revision/main?blobs=true",
      ]);
    }));

  it("offline and not cached is said with what is missing", () =>
    withHub(MODEL, async ({ settings }) => {
      const offline = { ...settings, offline: true };
      await assert.rejects(fetchModel(NAME, offline), /"org\/name@main" offline.*unset HF_HUB_OFFLINE/);
      const { dir } = await fetchModel(NAME, settings);
      await rm(join(dir, "model.safetensors"));
      await assert.rejects(fetchModel(NAME, offline), /lacks weights/);
    }));

  it("can be asked for a model without downloading it", () =>
    withHub(MODEL, async (scene) => {
      assert.deepEqual(await lookUpModel(NAME, scene.settings), { commit: COMMIT, dir: undefined });
      assert.deepEqual(fetchedNames(scene), []);
      const { dir } = await fetchModel(NAME, scene.settings);
      assert.equal((await lookUpModel(NAME, scene.settings)).dir, dir);
    }));

  it("a link whose blob was deleted is fetched again", () =>
    withHub(MODEL, async ({ settings, repo }) => {
      const { dir } = await fetchModel(NAME, settings);
      await rm(join(repo, "blobs", sha256(WEIGHTS)));
      await fetchModel({ ...NAME, revision: COMMIT }, settings);
      assert.equal((await stat(join(dir, "model.safetensors"))).size, WEIGHTS.byteLength);
    }));
});

describe("a connection that is cut", () => {
  it("is taken up again where it ended, as long as bytes come", () =>
    withHub(MODEL, async ({ hub, settings, repo, weightRanges }) => {
      hub.cutAfterBytes = 150_000; // six cuts: more than the tries without progress
      await fetchModel(NAME, settings);
      assert.deepEqual(
        weightRanges(),
        [undefined, 1, 2, 3, 4, 5, 6].map((n) => n && `bytes=${n * 150_000}-`),
      );
      assert.deepEqual(
        await readdir(join(repo, "blobs")).then((names) => names.filter((n) => /\./.test(n))),
        [],
      );
    }));

  it("without being closed is given up after a while, and taken up again", () =>
    withHub(MODEL, async ({ hub, settings, weightRanges }) => {
      Object.assign(hub, { cutAfterBytes: 500_000, hangs: true });
      await fetchModel(NAME, { ...settings, idleTimeoutMs: 300 });
      assert.deepEqual(weightRanges(), [undefined, "bytes=500000-"]);
    }));

  it("for good ends the run with what to do, and the next run goes on from there", () =>
    withHub(MODEL, async ({ hub, settings, weightRanges }) => {
      hub.cutAfterBytes = 400_000;
      hub.intervene = ({ range }, response) => range !== undefined && !!response.destroy();
      await assert.rejects(fetchModel(NAME, settings), /5 times in a row; check the network.*goes on from/);
      Object.assign(hub, { cutAfterBytes: Infinity, intervene: () => false });
      hub.requests.length = 0;
      await fetchModel(NAME, settings);
      assert.deepEqual(weightRanges(), ["bytes=400000-"]);
    }));

  it("starts over where the server cannot send a part", () =>
    withHub(MODEL, async ({ hub, settings, repo }) => {
      const partial = `${join(repo, "blobs", sha256(WEIGHTS))}.${hostname()}-${process.pid}.incomplete`;
      await mkdir(dirname(partial), { recursive: true });
      await writeFile(partial, new Uint8Array(300));
      hub.ignoresRanges = true;
      const { dir } = await fetchModel(NAME, settings);
      assert.deepEqual(new Uint8Array(await readFile(join(dir, "model.safetensors"))), WEIGHTS);
    }));

  it("a busy server is asked again", () =>
    withHub(MODEL, async ({ hub, settings }) => {
      let refusals = 2;
      hub.intervene = (_, response) => refusals-- > 0 && !!response.writeHead(503).end();
      assert.equal((await fetchModel(NAME, settings)).commit, COMMIT);
    }));
});

describe("what is wrong is refused", () => {
  for (const name of ["model.safetensors", "config.json"]) {
    it(`${name} with another hash, and nothing of it stays`, () =>
      withHub(MODEL, async ({ hub, settings, repo }) => {
        const right = hub.files.get(name)!;
        hub.files.set(name, right.map((byte, i) => i === right.length - 1 ? byte ^ 1 : byte));
        hub.listedAs.set(name, right);
        await assert.rejects(
          fetchModel(NAME, settings),
          /^Error: Refused .* required (sha256|git-sha1) .* got /,
        );
        const names = await readdir(join(repo, "blobs"));
        assert.deepEqual(names.filter((blob) => blob.includes("incomplete")), []);
        hub.listedAs.clear();
        hub.files.set(name, right);
        await fetchModel(NAME, settings);
      }));
  }

  const refusals: [string, number, Record<string, string>, RegExp][] = [
    ["a model that is not there", 401, { "x-error-code": "RepoNotFound" }, /no folder "org\/name".*no model/],
    ["a revision that is not there", 404, { "x-error-code": "RevisionNotFound" }, /no revision "main"/],
    ["a gated model", 403, { "x-error-code": "GatedRepo" }, /accept its terms at .*HF_TOKEN/],
  ];
  for (const [what, status, headers, message] of refusals) {
    it(`${what}, at once and with the remedy`, () =>
      withHub(MODEL, async ({ hub, settings }) => {
        hub.intervene = (_, response) => !!response.writeHead(status, headers).end();
        await assert.rejects(fetchModel(NAME, settings), message);
        assert.equal(hub.requests.length, 1);
      }));
  }

  it("gated files of a model that can be listed, the same", () =>
    withHub(MODEL, async ({ hub, settings }) => {
      hub.intervene = ({ path }, response) =>
        path.includes("/resolve/") && !!response.writeHead(403, { "x-error-code": "GatedRepo" }).end();
      await assert.rejects(fetchModel(NAME, settings), /config\.json of .*accept its terms at .*HF_TOKEN/);
    }));

  it("a model without weights or tokenizer, before anything large", () =>
    withHub({ "config.json": "{}" }, async (scene) => {
      await assert.rejects(fetchModel(NAME, scene.settings), /no tokenizer\.json .*no model\.safetensors/);
      assert.deepEqual(fetchedNames(scene), []);
    }));

  it("more than the disk holds, before the first byte", () =>
    withHub(MODEL, async (scene) => {
      const lfs = { sha256: sha256(WEIGHTS), size: 9e15 };
      const siblings = [
        ...Object.keys(TEXTS).map((rfilename) => ({ rfilename, size: 1, blobId: COMMIT })),
        { rfilename: "model.safetensors", lfs },
      ];
      scene.hub.intervene = (_, response) => !!response.end(JSON.stringify({ sha: COMMIT, siblings }));
      await assert.rejects(fetchModel(NAME, scene.settings), /9000000\.00 GB are needed.*set HF_HOME/);
      assert.deepEqual(fetchedNames(scene), []);
    }));

  it("a hub that cannot be reached, naming the folder that was perhaps meant", () =>
    withHub(MODEL, async ({ settings }) => {
      const nowhere = { ...settings, endpoint: "http://127.0.0.1:1" };
      await assert.rejects(
        fetchModel(NAME, nowhere),
        /^Error: Cannot reach .*no folder "org\/name" here.*HF_HUB_OFFLINE/,
      );
    }));

  it("a server that is no hub", () =>
    withHub(MODEL, async ({ hub, settings }) => {
      hub.intervene = (_, response) => !!response.end("<html>log in first</html>");
      await assert.rejects(fetchModel(NAME, settings), /no list of files \(.*HF_ENDPOINT/);
    }));
});

describe("processes", () => {
  const start = ({ settings }: Scene) => {
    const runtime = "Deno" in globalThis ? ["run", "-A", "--no-check"] : ["--import", "tsx"];
    const script = fileURLToPath(new URL("download_model.ts", import.meta.url));
    const child = spawn(process.execPath, [...runtime, script, settings.endpoint, settings.cacheDir], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => output += chunk);
    const finished = new Promise<{ code: number | null; output: string }>((resolve) =>
      child.on("close", (code) => resolve({ code, output }))
    );
    return { child, finished };
  };
  const partials = ({ repo }: Scene) =>
    readdir(join(repo, "blobs")).then(
      (names) => names.filter((name) => name.endsWith(".incomplete")),
      () => [],
    );

  async function killMidway(scene: Scene): Promise<void> {
    const { hub, repo } = scene;
    Object.assign(hub, { cutAfterBytes: 600_000, hangs: true });
    const { child, finished } = start(scene);
    for (let bytes = 0; bytes < 600_000;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const partial = (await partials(scene)).find((name) => name.startsWith(sha256(WEIGHTS)));
      if (partial) bytes = (await lstat(join(repo, "blobs", partial))).size;
    }
    child.kill("SIGKILL");
    await finished;
    Object.assign(hub, { cutAfterBytes: Infinity, hangs: false });
    hub.requests.length = 0;
  }

  it("one that was killed is followed by one that goes on from there", () =>
    withHub(MODEL, async (scene) => {
      await killMidway(scene);
      const { dir } = await fetchModel(NAME, scene.settings);
      assert.deepEqual(scene.weightRanges(), ["bytes=600000-"]);
      assert.equal(sha256(await readFile(join(dir, "model.safetensors"))), sha256(WEIGHTS));
      assert.deepEqual(await partials(scene), []);
    }));

  it("two at once after a killed one: one goes on from there, both end with the right file", () =>
    withHub(MODEL, async (scene) => {
      await killMidway(scene);
      const both = await Promise.all([start(scene).finished, start(scene).finished]);
      for (const { code, output } of both) {
        assert.equal(code, 0);
        const path = join(output.trim(), "model.safetensors");
        assert.equal(sha256(await readFile(path)), sha256(WEIGHTS));
      }
      assert.equal(scene.weightRanges().filter((range) => range === "bytes=600000-").length, 1);
      assert.deepEqual(await partials(scene), []);
    }));

  it("the partial file of one that lives is left alone", () =>
    withHub(MODEL, async (scene) => {
      const blob = join(scene.repo, "blobs", sha256(WEIGHTS));
      const living = `${blob}.${hostname()}-${process.ppid}.incomplete`;
      await mkdir(dirname(blob), { recursive: true });
      await writeFile(living, "of the other");
      await fetchModel(NAME, scene.settings);
      assert.equal(await readFile(living, "utf8"), "of the other");
      assert.deepEqual(scene.weightRanges(), [undefined]);
    }));
});
