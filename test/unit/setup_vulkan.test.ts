/** scripts/setup_vulkan.mjs as the program that installs the driver, with an apt that stands in. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { backportsSource } from "../../scripts/apt_sources.mjs";
import { readCommand } from "../../scripts/run_command.mjs";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { callsOf, NO_SHELL, writeStub } from "./stub_program.ts";
import { leftOut } from "../left_out.ts";

/** Runs the program where apt offers a Mesa that is new enough and does as `apt` says. */
async function install(apt: string, candidate: string) {
  let [calls, result] = [[] as string[], { code: -1, stdout: "", stderr: "" }];
  await withScratchFolder(async (folder) => {
    const aptGet = join(folder, "apt-get");
    writeStub(aptGet, apt);
    writeStub(join(folder, "apt-cache"), `printf 'mesa:\\n  Installed: 1.0\\n  Candidate: ${candidate}\\n'`);
    const args = "Deno" in globalThis ? ["run", "-A"] : [];
    result = await readCommand(process.execPath, [...args, join(ROOT, "scripts/setup_vulkan.mjs")], {
      env: { ...process.env, PATH: folder },
    });
    calls = callsOf(aptGet);
  });
  return { ...result, calls };
}

const NOT_LINUX = process.platform !== "linux" && "apt is of Linux alone";

describe("the installation of software Vulkan", {
  skip: leftOut("the installation of software Vulkan", NO_SHELL || NOT_LINUX),
}, () => {
  it("asks apt for the package as the release has it, without questions", async () => {
    for (const candidate of ["25.0.7-2", "1:23.2.1-1ubuntu3", "24.10-1"]) {
      const { code, stderr, calls } = await install('[ "$DEBIAN_FRONTEND" = noninteractive ]', candidate);
      assert.equal(code, 0, stderr);
      assert.match(calls[0], / update -qq$/);
      assert.match(calls[1], /^-y .* install -qq --no-install-recommends mesa-vulkan-drivers$/);
      assert.equal(calls.length, 2);
      assert.match(stderr, /Software Vulkan installed in /);
    }
  });

  it("shows what apt said when that fails, what else can be done, and exits with 1", async () => {
    const apt = 'case "$*" in *install*) echo no space left; exit 100;; esac';
    const { code, stderr } = await install(apt, "25.0.7-2");
    assert.equal(code, 1);
    assert.match(stderr, /no space left/);
    assert.match(stderr, /apt-get exited with 100; see its lines above\. Install a Vulkan driver: /);
    assert.doesNotMatch(stderr, /\.mjs:\d+/);
  });

  it("goes on where some other source cannot be updated", async () => {
    const { code, calls } = await install('case "$*" in *update*) exit 100;; esac', "25.0.7-2");
    assert.deepEqual([code, calls.length], [0, 2]);
  });
});

it("backports that are a source of other components only are added, with the component that has the driver", () => {
  const text = "deb http://mirror.example/debian bookworm main\n" +
    "deb http://mirror.example/debian bookworm-backports contrib\n";
  assert.deepEqual(backportsSource([{ extension: "list", text }], "bookworm"), {
    extension: "list",
    text: "deb http://mirror.example/debian bookworm-backports main\n",
  });
});
