/** Ranks of one machine with two Vulkan devices, which software plays: each is shown its own alone. Needs a C compiler. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { inScratchFolder, ROOT } from "../e2e/program.ts";

const WORKER = join(ROOT, "test/cluster/device_worker.ts");
const RUNTIMES = {
  Node: [process.execPath, "--import", "tsx", WORKER],
  Deno: [join(ROOT, "node_modules/.bin/deno"), "run", "-A", "--unstable-webgpu", "--no-check", WORKER],
};

/** lavapipe's file for the Vulkan loader. */
function softwareDriver(): string {
  const folder = "/usr/share/vulkan/icd.d";
  const name = readdirSync(folder).find((file) => /^lvp_icd.*\.json$/.test(file));
  assert.ok(name, `no lavapipe in ${folder}`);
  return join(folder, name);
}

describe("of two devices a rank sees its own alone, by the layer that is built in the user's cache", () => {
  for (const [runtime, [command, ...words]] of Object.entries(RUNTIMES)) {
    it(`in ${runtime}`, () =>
      inScratchFolder((folder) => {
        const second = join(folder, "second.json");
        copyFileSync(softwareDriver(), second);
        const env = {
          ...process.env,
          DENO_WEBGPU_BACKEND: "vulkan",
          XDG_CACHE_HOME: join(folder, "cache"),
          VK_DRIVER_FILES: `${softwareDriver()}:${second}`,
        };
        for (const rank of [0, 1, 2]) {
          const said = execFileSync(command, [...words, String(rank)], { cwd: ROOT, env, encoding: "utf8" });
          const { taken, layer, seen, name } = JSON.parse(said.trim().split("\n").at(-1)!);
          assert.deepEqual([taken, layer, seen], [rank % 2, String(rank % 2), 1]);
          assert.match(name, /llvmpipe/);
        }
        const built = readdirSync(join(folder, "cache/grpo-webgpu/vulkan_layer")).sort();
        assert.deepEqual(built.map((file) => file.replace(/-\w+\./, ".")), [
          "libpick_device.so",
          "pick_device.json",
        ]);
        return Promise.resolve();
      }));
  }
});
