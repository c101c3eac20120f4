import { openGpu, closeGpu } from "./src/gpu/device.ts";
const t=performance.now(); const { info } = await openGpu(); console.log(info.name, performance.now()-t); console.error("after"); await closeGpu(); process.exit();
