/** A rank that takes its device and opens WebGPU on it: `device_worker.ts LOCAL_RANK`; prints what it sees, as JSON. */
import process from "node:process";
import { takeDevice } from "../../src/assembly/devices.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { vulkanDevices } from "../../src/gpu/vulkan_devices.ts";

const localRank = Number(process.argv[2]);
const device = await takeDevice({ localRank, gpuIds: null, useCpu: false, visible: undefined });
const { info } = await openGpu();
const seen = await vulkanDevices();
console.log(
  JSON.stringify({
    taken: device?.index,
    layer: process.env.GRPO_WEBGPU_VULKAN_DEVICE,
    seen: seen.length,
    name: info.name,
  }),
);
await closeGpu();
process.exit();
