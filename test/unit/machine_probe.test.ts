/** Where doctor looks for Vulkan drivers: as the Vulkan loader does. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { describe, it } from "node:test";
import { probeDrivers } from "../../src/cli/doctor/machine_probe.ts";
import { withScratchFolder } from "./scratch_folder.ts";

describe("probeDrivers()", () => {
  it("finds manifests of the user's own folder, of XDG_DATA_HOME or of HOME", () =>
    withScratchFolder(async (home) => {
      const makeDriver = async (base: string) => {
        const folder = join(base, "vulkan", "icd.d");
        await mkdir(folder, { recursive: true });
        await writeFile(join(folder, "b.json"), "{}");
        await writeFile(join(folder, "a.json"), "{}");
        await writeFile(join(folder, "notes.txt"), "");
        return ["a.json", "b.json"].map((name) => join(folder, name));
      };
      const own = await makeDriver(join(home, ".local", "share"));
      const data = await makeDriver(join(home, "data"));
      const among = (environment: Record<string, string>) =>
        probeDrivers(environment).manifests.filter((path) => path.startsWith(home));
      assert.deepEqual(among({ HOME: home }), own);
      assert.deepEqual(among({ HOME: home, XDG_DATA_HOME: join(home, "data") }), data);
      assert.deepEqual(among({}), []);
    }));

  it("sees each variable that hides those folders, and which of its files exist", () =>
    withScratchFolder(async (folder) => {
      const there = join(folder, "icd.json");
      const gone = join(folder, "gone.json");
      await writeFile(there, "{}");
      for (const variable of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]) {
        const { overrides } = probeDrivers({ [variable]: `${there}${delimiter}${gone}` });
        const files = [{ path: there, exists: true }, { path: gone, exists: false }];
        assert.deepEqual(overrides, [{ variable, files }]);
        assert.deepEqual(probeDrivers({ [variable]: "" }).overrides, []);
      }
    }));
});
