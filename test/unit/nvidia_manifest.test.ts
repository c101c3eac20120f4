/** scripts/nvidia_manifest.mjs: a cluster's NVIDIA libraries without the file that tells the Vulkan loader of them. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { nameNvidiaDriver } from "../../scripts/nvidia_manifest.mjs";
import { withScratchFolder } from "./scratch_folder.ts";

/** A machine with a card and the library; `body` may add to it. */
function onMachine(
  body: (places: Parameters<typeof nameNvidiaDriver>[1] & object, env: Record<string, string>) => void,
) {
  return withScratchFolder((folder) => {
    const places = {
      libraries: [join(folder, "none"), join(folder, "lib")],
      manifests: [join(folder, "none"), join(folder, "icd.d")],
      device: join(folder, "nvidiactl"),
    };
    for (const made of [places.libraries[1], places.manifests[1]]) mkdirSync(made);
    writeFileSync(places.device, "");
    writeFileSync(join(places.libraries[1], "libEGL_nvidia.so.0"), "");
    body(places, { XDG_CACHE_HOME: join(folder, "cache") });
    return Promise.resolve();
  });
}

describe("nameNvidiaDriver()", () => {
  it("writes the loader's file and names it where a card and its library are there, and no file", () =>
    onMachine((places, env: Record<string, string | undefined>) => {
      const file = nameNvidiaDriver(env, places)!;
      assert.equal(env.VK_DRIVER_FILES, file);
      const { ICD, file_format_version } = JSON.parse(readFileSync(file, "utf8"));
      assert.equal(ICD.library_path, join(places.libraries[1], "libEGL_nvidia.so.0"));
      assert.deepEqual([file_format_version, ICD.api_version], ["1.0.1", "1.3.0"]);
      writeFileSync(join(places.libraries[1], "libGLX_nvidia.so.0"), "");
      delete env.VK_DRIVER_FILES;
      nameNvidiaDriver(env, places);
      assert.match(readFileSync(file, "utf8"), /libGLX_nvidia/, "as the driver's own file names it");
    }));

  it("leaves alone what a user or the machine has said", () =>
    onMachine((places, env: Record<string, string | undefined>) => {
      for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]) {
        assert.equal(nameNvidiaDriver({ ...env, [name]: "own.json" }, places), undefined);
      }
      const own = { ...env };
      writeFileSync(
        join(places.manifests[1], "card.json"),
        '{"ICD": {"library_path": "libGLX_nvidia.so.0"}}',
      );
      assert.equal(nameNvidiaDriver(own, places), undefined);
      assert.deepEqual(own, env);
    }));

  it("does nothing where there is no card, or no library of it", () =>
    onMachine((places, env) => {
      assert.equal(nameNvidiaDriver(env, { ...places, device: `${places.device}0` }), undefined);
      assert.equal(nameNvidiaDriver(env, { ...places, libraries: [] }), undefined);
    }));
});
