import { openGpu, closeGpu } from "../../src/gpu/device.ts";
import { measureLine, isWithin } from "./line.ts";
import { errorText } from "./document.ts";
const { lines } = await import("./" + "trl_steps" + ".ts");
await openGpu();
for (const line of lines) { const w = await measureLine(line); console.log(isWithin(w, line) ? "ok  " : "FAIL", errorText(w), line.limit, line.what); }
closeGpu();
