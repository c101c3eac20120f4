/** Which GPU of a machine a rank takes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { candidates, chosenOf, nvidiaGpus } from "../../src/assembly/device_choice.ts";
import { assertOwnDevices } from "../../src/assembly/devices.ts";
import { mesaVariables } from "../../src/assembly/vulkan_selection.ts";
import type { VulkanDevice } from "../../src/gpu/vulkan_devices.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";

const uuidOf = (digit: number) => `${digit}`.repeat(32);
const card = (digit: number, index: number): VulkanDevice => ({
  index,
  name: "NVIDIA H100",
  uuid: uuidOf(digit),
  pci: `0000:0${digit}:00.0`,
  isSoftware: false,
  memoryBytes: 80e9,
});
const cpu: VulkanDevice = { ...card(9, 4), name: "llvmpipe", pci: null, isSoftware: true };
/** The loader lists them in another order than their sockets are. */
const MACHINE = [card(3, 0), card(1, 1), card(2, 2), card(4, 3), cpu];
const ALL = { gpuIds: null, useCpu: false, visible: undefined };
const SMI = nvidiaGpus(
  [1, 2, 3, 4].map((digit) => {
    const uuid = uuidOf(digit).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    return `GPU-${uuid}, 00000000:0${digit}:00.0`;
  }).join("\n"),
);
const socketsOf = (devices: readonly VulkanDevice[]) => devices.map(({ pci }) => pci?.slice(5, 7));

describe("the devices that a machine's ranks share out", () => {
  it("are its GPUs by their sockets, each once, and not the CPU beside them", () => {
    assert.deepEqual(socketsOf(candidates(MACHINE, ALL, [])), ["01", "02", "03", "04"]);
    assert.equal(candidates([...MACHINE, card(1, 5)], ALL, []).length, 4);
    assert.deepEqual(candidates([cpu], ALL, []), [cpu]);
    assert.deepEqual(candidates(MACHINE, { ...ALL, useCpu: true }, []), [cpu]);
  });

  it("are those of gpu_ids or CUDA_VISIBLE_DEVICES, in that order, by nvidia-smi's numbers or UUIDs", () => {
    assert.equal(SMI.length, 4);
    const visible = (text: string, smi = SMI) =>
      socketsOf(candidates(MACHINE, { ...ALL, visible: text }, smi));
    assert.deepEqual(visible("2,0"), ["03", "01"]);
    assert.deepEqual(visible("2,0", []), ["03", "01"], "without nvidia-smi by sockets");
    assert.deepEqual(visible(`GPU-${uuidOf(4).slice(0, 8)}`), ["04"]);
    assert.deepEqual(visible("1,-1,0"), ["02"], "as for CUDA, what follows a wrong one does not count");
    assert.deepEqual(socketsOf(candidates(MACHINE, { ...ALL, gpuIds: [3], visible: "0" }, SMI)), ["04"]);
  });

  it("are the one GPU that a cluster shows, whatever its number is outside", () => {
    assert.deepEqual(socketsOf(candidates([card(3, 0), cpu], { ...ALL, visible: "3" }, [])), ["03"]);
    assert.throws(
      () => candidates([card(3, 0)], { ...ALL, gpuIds: [3] }, []),
      /gpu_ids asks for GPU 3, found 0: NVIDIA/,
    );
  });

  it("are an error where none is left, with those that there are", () => {
    assert.throws(
      () => candidates(MACHINE, { ...ALL, visible: "" }, SMI),
      /CUDA_VISIBLE_DEVICES="" hides every GPU, found 0: NVIDIA H100 at 0000:01:00.0, 1: /,
    );
    assert.throws(() => candidates([card(1, 0)], { ...ALL, useCpu: true }, []), /required a software Vulkan/);
    assert.throws(() => candidates([cpu], { ...ALL, gpuIds: [0] }, []), /gpu_ids asks for GPU 0, found none/);
  });

  it("go to the ranks in turn", () => {
    assert.deepEqual([0, 1, 2].map((rank) => chosenOf([card(1, 0), card(2, 1)], rank).index), [0, 1, 0]);
  });
});

it("Mesa's layer is told the socket as it reads it", () => {
  assert.equal(mesaVariables("0000:c1:00.0").DRI_PRIME, "pci-0000_c1_00_0");
});

describe("ranks hold their devices against each other's", () => {
  const held = (devices: readonly (VulkanDevice | undefined)[]) =>
    Promise.allSettled(inProcessRanks(devices.length).map((c) => assertOwnDevices(c, devices[c.rank])));

  it("and all of them end where two have one GPU, which is named", async () => {
    const results = await held([card(1, 0), card(2, 1), card(1, 0)]);
    for (const result of results) {
      assert.match(
        result.status === "rejected" ? result.reason.message : "none",
        /^Ranks 0, 2 share one GPU, NVIDIA H100 \(UUID 1{32}\) of .*--gpus-per-task=1/,
      );
    }
  });

  it("and go on with one each, or where they share a CPU, which they say", async () => {
    const values = async (devices: readonly (VulkanDevice | undefined)[]) =>
      (await held(devices)).map((result) => result.status === "fulfilled" ? result.value : "failed");
    assert.deepEqual(await values([card(1, 0), card(2, 1)]), [null, null]);
    assert.deepEqual(await values([undefined, undefined]), [null, null]);
    assert.match(String((await values([cpu, cpu]))[0]), /^2 of 2 ranks compute on their machine's CPU/);
  });
});
