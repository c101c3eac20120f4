/** A scorer on this machine is asked directly, whatever proxies the environment names. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { ownServer } from "./own_servers.ts";

const CLIENT = fileURLToPath(new URL("./ask_scorer.ts", import.meta.url));
const PROXY_NAMES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

test("no proxy of the environment sees what is sent to 127.0.0.1 or localhost, in a program of its own", async (t) => {
  const seen: string[] = [];
  const proxy = createServer((request, response) => {
    seen.push(String(request.url));
    response.writeHead(502).end();
  }).on("connect", (request, socket) => {
    seen.push(String(request.url));
    socket.destroy();
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => proxy.close());
  const server = await ownServer(t);
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const proxies = Object.fromEntries(PROXY_NAMES.map((name) => [name, address]));
  const isDeno = "deno" in process.versions;
  const words = isDeno ? ["run", "-A", "--no-check", "--cached-only"] : ["--import", "tsx"];
  const urls = [server.url, server.url.replace("127.0.0.1", "localhost")];
  const { stdout } = await promisify(execFile)(process.execPath, [...words, CLIENT, ...urls], {
    env: { ...process.env, ...proxies, NO_PROXY: "elsewhere.test", no_proxy: "" },
    timeout: 60_000,
  });
  assert.equal(stdout.trim(), '[[2],[2],"elsewhere.test"]', "scores, and the environment as it was");
  assert.deepEqual(seen, []);
  assert.deepEqual(server.asked, ["/health", "/score_batch", "/health", "/score_batch"]);
});
