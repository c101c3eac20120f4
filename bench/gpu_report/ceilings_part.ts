/** What the device can do at most, with every access held within its array, as the program runs. */
import { openGpu } from "../../src/gpu/device.ts";
import { measureCeilings } from "../ceilings.ts";
import type { PartContext } from "./report_line.ts";

/** Says the rates of copies, of f32 multiply-adds and of matrix units. */
export async function reportCeilings({ say }: PartContext): Promise<void> {
  const { device } = await openGpu();
  const { copyGBps, fmaGflops, matrixGflops } = await measureCeilings(device);
  say({ kind: "ceiling", name: "copy, read and written", unit: "copy", perSecond: copyGBps });
  say({ kind: "ceiling", name: "f32 multiply-adds", unit: "fma", perSecond: fmaGflops });
  if (matrixGflops === null) {
    say({ kind: "left out", name: "matrix units", reason: "the device offers none that fit" });
  } else {
    say({ kind: "ceiling", name: "matrix units, f16 into f32", unit: "matrix", perSecond: matrixGflops });
  }
}
