/** What Dawn makes of our kernels for a Vulkan driver is SPIR-V as Khronos's validator wants it: a driver need not check. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { newerVulkan } from "../../scripts/newer_vulkan.mjs";
import { leftOut } from "../left_out.ts";
import { dumpedKernels } from "./spirv_text.ts";

const PROGRAM = fileURLToPath(new URL("spirv_dump.ts", import.meta.url));
const TARGET = "vulkan1.3";
/** Validators that run at a time. */
const AT_ONCE = 4;
/** What Dawn refuses to a device that is no card: matrices of another size, more memory for a workgroup. */
const OTHER_DEVICE =
  /Subgroup matrix usage found which is not supported by the device|workgroup storage .* is larger than the maximum/;

const EMPTY_KERNEL = `OpCapability Shader
OpMemoryModel Logical GLSL450
OpEntryPoint GLCompute %main "main"
OpExecutionMode %main LocalSize 1 1 1
%void = OpTypeVoid
%type = OpTypeFunction %void
%main = OpFunction %void None %type
%body = OpLabel
OpReturn
OpFunctionEnd
`;

const found = await newerVulkan();
const vulkan = "missing" in found ? undefined : found;
const missing = "missing" in found && `no Vulkan with SPIR-V's tools: ${found.missing}`;

/** What Dawn prints of all kernels. */
function dump(folder: string): string {
  const path = join(folder, "dump");
  const { command, args, env } = vulkan!.starting(process.execPath, ["--import", "tsx", PROGRAM]);
  const file = openSync(path, "w");
  const { status, stderr } = spawnSync(command, args, {
    env: { ...process.env, ...env, GRPO_WEBGPU_DAWN_TOGGLES: "dump_shaders" },
    stdio: ["ignore", file, "pipe"],
    encoding: "utf8",
  });
  closeSync(file);
  assert.equal(status, 0, stderr);
  return readFileSync(path, "utf8");
}

/** Runs one of SPIR-V's tools. @returns what it complains about */
async function complaint(tool: string, options: string[]): Promise<string | undefined> {
  const { command, args } = vulkan!.starting(join(vulkan!.root, "usr/bin", tool), options);
  try {
    await promisify(execFile)(command, args);
    return undefined;
  } catch (error) {
    return (error as { stderr: string }).stderr || String(error);
  }
}

/** @param path of a file that may be made, without its ending */
async function spirvComplaint(assembly: string, version: string, path: string): Promise<string | undefined> {
  writeFileSync(`${path}.spvasm`, assembly);
  const made = ["--target-env", `spv${version}`, `${path}.spvasm`, "-o", `${path}.spv`];
  return await complaint("spirv-as", made) ??
    await complaint("spirv-val", ["--target-env", TARGET, `${path}.spv`]);
}

describe("SPIR-V", () => {
  const skip = leftOut("every kernel is valid SPIR-V", missing);
  it(
    "of every kernel is valid, under every set of its conditions, with a GPU's constants",
    { skip },
    async (t) => {
      const folder = mkdtempSync(join(tmpdir(), "grpo-spirv-"));
      try {
        const kernels = dumpedKernels(dump(folder));
        const made = kernels.filter(({ refused }) => refused === undefined);
        const refused = kernels.filter(({ refused }) => refused !== undefined);
        assert.deepEqual(refused.filter((one) => !OTHER_DEVICE.test(one.refused!)), []);
        const complaints: string[] = [];
        const queue = [...made.entries()];
        const validate = async () => {
          for (let next = queue.shift(); next; next = queue.shift()) {
            const [i, { name, assembly, version }] = next;
            const said = await spirvComplaint(assembly, version, join(folder, String(i)));
            if (said) complaints.push(`${name}: ${said}`);
          }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, validate));
        assert.deepEqual(complaints, []);
        t.diagnostic(`${made.length} modules valid for ${TARGET}`);
        const names = new Set(refused.map(({ kernel }) => kernel));
        names.forEach((name) =>
          leftOut(`SPIR-V of ${name}, all of it`, "this device has matrices of another size, or less memory")
        );
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it("that is not valid is found", { skip }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "grpo-spirv-"));
    try {
      assert.equal(await spirvComplaint(EMPTY_KERNEL, "1.4", join(folder, "right")), undefined);
      const wrong = EMPTY_KERNEL.replace("OpReturn\n", "");
      assert.match(await spirvComplaint(wrong, "1.4", join(folder, "wrong")) ?? "", /error/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
