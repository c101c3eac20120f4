/** The report served: to this machine alone, the page alone, anew where the run has gone on. */
import assert from "node:assert/strict";
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { runLabels } from "../../src/assembly/run_labels.ts";
import { type ReportServer, serveReport } from "../../src/assembly/report_server.ts";
import { withScratchFolder } from "./scratch_folder.ts";

interface Answer {
  status: number;
  text: string;
  headers: Record<string, string | string[] | undefined>;
}

function ask(url: string, path = "/", headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // By node:http, which sends a path and a Host as they are.
    const asked = request(url, { path, headers, method, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => (text += part));
      answer.on("end", () => resolve({ status: answer.statusCode!, text, headers: answer.headers }));
    });
    asked.on("error", reject).end();
  });
}

async function withServer(body: (server: ReportServer, folder: string) => Promise<void>): Promise<void> {
  await withScratchFolder(async (folder) => {
    await mkdir(join(folder, "samples"));
    await writeFile(join(folder, "metrics.jsonl"), `{"step":1,"kl":0.5}\n`);
    await writeFile(join(folder, "secret.txt"), "not for you");
    const server = await serveReport(() => [folder]);
    try {
      await body(server, folder);
    } finally {
      await server.close();
    }
  });
}

test("a run that goes on is shown anew, and one that does not is not sent again", () =>
  withServer(async ({ url }, folder) => {
    const first = await ask(url);
    assert.equal(first.status, 200);
    assert.match(first.text, /<body data-live>.*steps 1 to 1\./s);
    const tag = String(first.headers.etag);
    assert.deepEqual(
      await ask(url, "/", { "if-none-match": tag }).then(({ status, text }) => [status, text]),
      [
        304,
        "",
      ],
    );
    await appendFile(join(folder, "metrics.jsonl"), `{"step":2,"kl":0.25}\n`);
    const second = await ask(url, "/", { "if-none-match": tag });
    assert.match(second.text, /steps 1 to 2\./);
  }));

test("only the page is served, only by this machine's own names, under a policy that lets it ask this server alone", () =>
  withServer(async ({ url }) => {
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
    for (
      const path of ["/secret.txt", "/../secret.txt", "/metrics.jsonl", "/%2e%2e/secret.txt", "//etc/passwd"]
    ) {
      const { status, text } = await ask(url, path);
      assert.ok(status === 404 || text.startsWith("<!doctype html>"), `${path}: ${status}`);
      assert.doesNotMatch(text, /not for you/);
    }
    assert.equal((await ask(url, "/", { host: "evil.example" })).status, 403);
    assert.equal((await ask(url, "/", { host: "localhost" })).status, 200);
    assert.equal((await ask(url, "/", {}, "POST")).status, 405);
    const policy = String((await ask(url)).headers["content-security-policy"]);
    assert.match(policy, /^default-src 'none';.*connect-src 'self'; frame-ancestors 'none'$/);
    assert.doesNotMatch(policy, /\*|unsafe-eval|script-src[^;]*unsafe-inline/);
  }));

test("a run that has yet to begin is said to be none, and asked for again", () =>
  withScratchFolder(async (folder) => {
    const server = await serveReport(() => [folder]);
    try {
      const { status, text, headers } = await ask(server.url);
      assert.deepEqual([status, headers.refresh], [503, "2"]);
      assert.match(text, /no metrics\.jsonl in it/);
      await writeFile(join(folder, "metrics.jsonl"), "");
      assert.match((await ask(server.url)).text, /no steps yet/);
    } finally {
      await server.close();
    }
  }));

test("runs are called by what tells them apart", () => {
  const labels = (...folders: string[]) => runLabels(folders);
  assert.deepEqual(labels("/r/beta0.01_seed42_unified", "/r/beta0.1_seed42_unified/"), [
    "beta0.01",
    "beta0.1",
  ]);
  assert.deepEqual(labels("/r/beta0.1_seed1_unified", "/r/beta0.1_seed2_unified"), ["seed1", "seed2"]);
  assert.deepEqual(labels("/a/beta0.1", "/b/beta0.1"), ["a/beta0.1", "b/beta0.1"]);
  assert.deepEqual(labels("/a/x", "/a/x_y"), ["x", "x_y"]);
  assert.deepEqual(labels("/a/x", "/a/x"), ["/a/x (1)", "/a/x (2)"]);
});
