/** Names of models: what is a hub id, where the cache is, which commit a run keeps. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { bytesProgress } from "../../src/cli/terminal/bytes_progress.ts";
import { hubSettings, modelPins, resolveModel } from "../../src/assembly/hub.ts";
import { getFromHub } from "../../src/io/hub/http.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { parseHubName, pinnedCommit } from "../../src/io/hub/name.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const [FIRST, SECOND] = ["1".repeat(40), "2".repeat(40)];

describe("a hub id", () => {
  it('is "org/name", alone or with "@revision"', () => {
    assert.deepEqual(parseHubName("org/name"), { id: "org/name", revision: undefined });
    assert.deepEqual(parseHubName("PKU-Alignment/alpaca_7b.v1@refs/pr/1"), {
      id: "PKU-Alignment/alpaca_7b.v1",
      revision: "refs/pr/1",
    });
  });

  for (
    const name of [
      "name",
      "models/quickstart/policy",
      "/org/name",
      "./name",
      "../name",
      "org/name/",
      "org/..",
      "a--b/c",
      "org/name@",
      "org/name@../x",
      "org/name@a//b",
      "org/na me",
      `org/${"n".repeat(96)}`,
    ]
  ) it(`is not ${JSON.stringify(name)}`, () => assert.equal(parseHubName(name), undefined));

  it("without a revision keeps the commit of a run with the same id, and of no other", () => {
    const name = { id: "org/name", revision: undefined };
    assert.equal(pinnedCommit(name, `org/name@${FIRST}`), FIRST);
    assert.equal(pinnedCommit(name, `org/other@${FIRST}`), undefined);
    assert.equal(pinnedCommit(name, "org/name@main"), undefined);
    assert.equal(pinnedCommit({ ...name, revision: "main" }, `org/name@${FIRST}`), undefined);
  });
});

describe("a model's folder", () => {
  it("wins over the hub when it exists; a name that is neither is refused", async () => {
    assert.deepEqual(await resolveModel("models/quickstart"), {
      name: "models/quickstart",
      dir: "models/quickstart",
    });
    for (const name of ["no/such/folder", "./no", "/no/such"]) {
      await assert.rejects(resolveModel(name), (error: Error) => {
        assert.equal(
          error.message,
          `Cannot load a model from '${name}': there is no folder '${name}'; correct the path`,
        );
        return true;
      });
    }
    await assert.rejects(resolveModel("alpaca"), /no folder 'alpaca'.*or give a hub id \("org\/name"\)/);
    await assert.rejects(resolveModel("README.md"), /it is a file, required a model's folder/);
  });

  it("that is missing beside others is said at once: the hub is asked one time, and does not delay the message", async () => {
    process.env.HF_ENDPOINT = "http://127.0.0.1:9"; // nothing listens there
    const began = performance.now();
    try {
      await assert.rejects(
        resolveModel("models/alpaca-7b"),
        /there is no folder of that name in 'models'; correct the path\. As a model of a hub: Cannot reach http:\/\/127/,
      );
    } finally {
      delete process.env.HF_ENDPOINT;
    }
    assert.ok(performance.now() - began < 2000);
  });

  it("in the cache is where huggingface_hub has it", async () => {
    const cacheOf = async (env: Record<string, string>) => (await hubSettings(env)).cacheDir;
    assert.equal(await cacheOf({}), join(homedir(), ".cache", "huggingface", "hub"));
    assert.equal(await cacheOf({ XDG_CACHE_HOME: "/x" }), join("/x", "huggingface", "hub"));
    assert.equal(await cacheOf({ HF_HOME: "/h", XDG_CACHE_HOME: "/x" }), join("/h", "hub"));
    assert.equal(await cacheOf({ HF_HUB_CACHE: "/c", HF_HOME: "/h" }), "/c");
  });

  it("may need a token: HF_TOKEN, else the one of a login", async () => {
    await withScratchFolder(async (home) => {
      assert.equal((await hubSettings({ HF_HOME: home })).token, undefined);
      await writeFile(join(home, "token"), "hf_saved\n");
      assert.equal((await hubSettings({ HF_HOME: home })).token, "hf_saved");
      assert.equal((await hubSettings({ HF_HOME: home, HF_TOKEN: "hf_given" })).token, "hf_given");
    });
  });

  it("HF_ENDPOINT and HF_HUB_OFFLINE are honoured", async () => {
    const { endpoint, offline } = await hubSettings({ HF_ENDPOINT: "http://mirror/", HF_HUB_OFFLINE: "1" });
    assert.deepEqual([endpoint, offline], ["http://mirror", true]);
    assert.equal((await hubSettings({ HF_HUB_OFFLINE: "0" })).offline, false);
  });
});

describe("pins", () => {
  const runOf = (overrides: string[]) =>
    sweepRuns(loadConfig({ text: "seed: 1", fileName: "test.yaml" }, { overrides }))[0];
  const fakeHub = () => {
    const asked: string[] = [];
    const resolve = (name: string) => {
      asked.push(name);
      const isUnpinned = name.startsWith("org/") && !name.includes("@");
      return Promise.resolve({ name: isUnpinned ? `${name}@${SECOND}` : name, dir: "" });
    };
    return { asked, resolve };
  };

  it("go into the config, one for all runs of a sweep; folders stay as they are", async () => {
    const { asked, resolve } = fakeHub();
    const pin = modelPins(resolve);
    const run = runOf(["model_name=org/name", "reward_model=org/name"]);
    for (const runDir of ["none-a", "none-b"]) {
      const pinned = await pin(run, runDir);
      assert.equal(pinned.model_name, `org/name@${SECOND}`);
      assert.equal(pinned.reward_model, pinned.model_name);
      assert.equal(pinned.cost_model, run.cost_model);
    }
    assert.deepEqual(asked, ["org/name", run.cost_model]);
  });

  it("of score models are left alone where a service scores", async () => {
    const { asked, resolve } = fakeHub();
    const run = runOf(["scorer_url=http://127.0.0.1:1", "reward_model=org/reward"]);
    assert.equal((await modelPins(resolve)(run, "none")).reward_model, "org/reward");
    assert.deepEqual(asked, [run.model_name]);
  });

  it("of the run that is resumed stay, unless it starts over or another revision is named", async () => {
    await withScratchFolder(async (runDir) => {
      await mkdir(runDir, { recursive: true });
      await writeFile(join(runDir, "run_config.json"), JSON.stringify({ model_name: `org/name@${FIRST}` }));
      const modelOf = async (...overrides: string[]) =>
        (await modelPins(fakeHub().resolve)(runOf(overrides), runDir)).model_name;
      assert.equal(await modelOf("model_name=org/name"), `org/name@${FIRST}`);
      assert.equal(await modelOf("model_name=org/name", "resume=false"), `org/name@${SECOND}`);
      assert.equal(await modelOf("model_name=org/name@v2"), "org/name@v2");
      assert.equal(await modelOf("model_name=org/other"), `org/other@${SECOND}`);
    });
  });
});

describe("the progress of a download", () => {
  const show = (isTTY: boolean, doneBytes: number[], stepMs: number) => {
    let [text, nowMs] = ["", 0];
    const { update, close } = bytesProgress(
      { write: (part) => text += part, isTTY },
      () => nowMs,
      "downloading",
    );
    for (const done of doneBytes) {
      update({ id: "org/name", doneBytes: done * 1e9, totalBytes: 4e9 });
      nowMs += stepMs;
    }
    close();
    return text;
  };

  it("is a bar on a terminal, with the rate of this download alone", () => {
    const redraws = show(true, [1, 2, 4], 2000).split("\r\x1b[K").slice(1);
    assert.equal(
      redraws[1],
      `${"█".repeat(12)}${"░".repeat(12)} downloading org/name  2.00 of 4.00 GB  0.500 GB/s`,
    );
    assert.equal(redraws[2], `${"█".repeat(24)} downloading org/name  4.00 of 4.00 GB  0.750 GB/s\n`);
  });

  it("is a line every 10 s elsewhere, and one at the end", () => {
    const lines = show(false, [0, 1, 2, 3, 4], 6000).trim().split("\n");
    assert.deepEqual(lines.map((line) => /([\d.]+) of/.exec(line)?.[1]), ["0.00", "2.00", "4.00"]);
  });

  it("is nothing when all was there, and never leaves a half line", () => {
    assert.equal(show(true, [4], 1), "");
    assert.match(show(true, [0, 1], 1000), /\n$/);
  });
});

describe("the hub's token", () => {
  /** What one request to an endpoint carried. */
  async function shownTo(endpoint: string, status = 200) {
    const { fetch } = globalThis;
    let shown: string | null = null;
    let refused = "";
    globalThis.fetch = (_url, init) => {
      shown = new Headers(init?.headers).get("authorization");
      return Promise.resolve(new Response("{}", { status }));
    };
    try {
      const { signal } = new AbortController();
      await getFromHub({ endpoint, token: "hf_secret" }, "api", { id: "a/b", revision: "main" }, { signal })
        .catch((error: Error) => refused = error.message);
    } finally {
      globalThis.fetch = fetch;
    }
    return { shown, refused };
  }

  it("is shown over https, or within this machine, and to nobody who could be listened to", async () => {
    for (
      const endpoint of [
        "https://huggingface.co",
        "https://mirror.example:8443",
        "http://127.0.0.1:9",
        "http://[::1]",
      ]
    ) {
      assert.equal((await shownTo(endpoint)).shown, "Bearer hf_secret", endpoint);
    }
    for (
      const endpoint of ["http://huggingface.co", "http://127.0.0.1.example", "http://localhost.example"]
    ) {
      assert.equal((await shownTo(endpoint)).shown, null, endpoint);
    }
    assert.match(
      (await shownTo("http://mirror.example", 401)).refused,
      /the token was kept back: .*https:\/\/ alone/,
    );
  });

  it("goes to an address; one with a password is refused without showing it", async () => {
    await assert.rejects(hubSettings({ HF_ENDPOINT: "https://me:secret@hub.example" }), (error: Error) => {
      assert.match(error.message, /^HF_ENDPOINT holds a user or password/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
    for (const endpoint of ["hub.example", "file:///etc", "not a url"]) {
      await assert.rejects(hubSettings({ HF_ENDPOINT: endpoint }), /^TypeError: HF_ENDPOINT is "/, endpoint);
    }
    assert.equal(
      (await hubSettings({ HF_ENDPOINT: " https://hub.example// " })).endpoint,
      "https://hub.example",
    );
  });
});
