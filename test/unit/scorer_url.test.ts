import assert from "node:assert/strict";
import { appendFile, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import {
  parseScorerUrl,
  scorerUrlsAt,
  waitForScorers,
  type WaitForUrlOptions,
  writeScorerUrl,
} from "../../src/scorer/url.ts";

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "scorer-url-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

/** The addresses in a file, once there are some. */
const waitFor = (path: string, options: WaitForUrlOptions = {}) =>
  waitForScorers([path], () => scorerUrlsAt(`file:${path}`), options);

describe("parseScorerUrl()", () => {
  it("drops trailing slashes and white space, and keeps a path before the endpoints", () => {
    assert.equal(parseScorerUrl(" http://localhost:8000// \n"), "http://localhost:8000");
    assert.equal(parseScorerUrl("https://host/scorer/"), "https://host/scorer");
    assert.equal(parseScorerUrl("http://[::1]:8000/"), "http://[::1]:8000");
  });

  it("a missing scheme is an error that shows the URL with one", () => {
    assert.throws(() => parseScorerUrl("localhost:8000"), /try "http:\/\/localhost:8000"/);
    assert.throws(() => parseScorerUrl("gpu-3.cluster/scorer"), /try "http:\/\/gpu-3.cluster\/scorer"/);
    assert.throws(() => parseScorerUrl(""), /need http:\/\/ or https:\/\//);
    assert.throws(() => parseScorerUrl("ftp://host"), /need http:\/\/ or https:\/\//);
  });

  it("what fetch could not use is an error, and a password is not repeated in it", () => {
    assert.throws(() => parseScorerUrl("http://"), /not a URL/);
    assert.throws(() => parseScorerUrl("http://host:99999"), /not a URL/);
    assert.throws(() => parseScorerUrl("http://host/?key=1"), /without "\?" and "#"/);
    assert.throws(
      () => parseScorerUrl("http://me:secret@host"),
      (error: Error) => !error.message.includes("secret"),
    );
  });
});

describe("waitForScorers()", () => {
  it("waits while the file is absent, empty or without its newline, and says so once", async (t) => {
    const path = join(await temporaryFolder(t), "url");
    const waits: string[] = [];
    const url = waitFor(path, { pollMs: 2, onWait: (waited) => waits.push(waited) });
    const stages = ["", "http://gpu-1:8", "000", "\n"];
    for (const stage of stages) {
      await new Promise((resolve) => setTimeout(resolve, 8));
      await appendFile(path, stage);
    }
    assert.deepEqual(await url, ["http://gpu-1:8000"]);
    assert.deepEqual(waits, [path]);
  });

  it("reads what writeScorerUrl() wrote, which leaves no other file", async (t) => {
    const folder = await temporaryFolder(t);
    const path = join(folder, "url");
    await writeScorerUrl(path, "http://old:1");
    await writeScorerUrl(path, "http://gpu-1:8000");
    const onWait = () => assert.fail("waited for a file that is there");
    assert.deepEqual(await waitFor(path, { onWait }), ["http://gpu-1:8000"]);
    assert.deepEqual(await readdir(folder), ["url"]);
  });

  it("a reader of the old file never meets a part of the new one", async (t) => {
    const path = join(await temporaryFolder(t), "url");
    await writeScorerUrl(path, "http://old:1");
    const handle = await open(path);
    t.after(() => handle.close());
    await writeScorerUrl(path, "http://gpu-1:8000");
    assert.equal(await handle.readFile("utf8"), "http://old:1\n");
  });

  it("a file that never comes is an error with the path and the remedy", async (t) => {
    const path = join(await temporaryFolder(t), "url");
    await assert.rejects(waitFor(path, { timeoutMs: 5, pollMs: 1 }), (error: Error) => {
      assert.equal(error.message.indexOf(`No scorer URL in "${path}" after 0.005 s`), 0, error.message);
      assert.match(error.message, /--url_file/);
      return true;
    });
  });

  it("a file of something else is an error at once", async (t) => {
    const path = join(await temporaryFolder(t), "url");
    for (const text of ["Starting...\n", "http://a:1\nhttp://b\ncd\n"]) {
      await writeFile(path, text);
      await assert.rejects(waitFor(path), /must hold a scorer's URL in each line: scorer_url is "(St|cd)/);
    }
    await writeFile(path, "http://a:1/\n\nhttp://b:1\n");
    assert.deepEqual(await waitFor(path), ["http://a:1", "http://b:1"]);
    await assert.rejects(
      waitFor(tmpdir()),
      /must be the file that a scorer writes its URL into, got a folder, pipe or device/,
    );
  });

  it("an abort ends the wait", async (t) => {
    const path = join(await temporaryFolder(t), "url");
    const controller = new AbortController();
    const onWait = () => controller.abort(new Error("stopped"));
    await assert.rejects(waitFor(path, { onWait, signal: controller.signal }), {
      message: "stopped",
    });
  });
});

describe("scorerUrlsAt()", () => {
  it("takes a URL as it is and refuses a bad one", async () => {
    assert.deepEqual(await scorerUrlsAt("http://localhost:8000/"), ["http://localhost:8000"]);
    await assert.rejects(scorerUrlsAt("localhost:8000"), TypeError);
  });
});
