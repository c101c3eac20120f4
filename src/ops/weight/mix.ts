/** Moves a weight towards another, as a reference policy follows the one that is trained. */
import { runKernel } from "../../gpu/dispatch.ts";
import { flatGrid, foldGrid } from "../../gpu/grids.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "./weight.ts";
import { refreshWeightShift } from "./weight_shift.ts";

/**
 * target = (1 - share) target + share source, in place.
 * @param target f32
 * @param source of the same shape, in any format
 * @throws RangeError when the shapes differ, or the target is packed: 16 bits would round most of a small step away
 */
export function mixWeight(target: Weight, source: Weight, share: number): void {
  if (target.format !== "f32" || target.shape.join() !== source.shape.join()) {
    throw new RangeError(
      `Cannot mix "${source.name}" [${source.shape}] into "${target.name}" [${target.shape}] ${target.format}: need ` +
        "one shape, and an f32 target",
    );
  }
  for (const window of windowsOf(target.tensor.size, 4)) {
    const { constants } = flatGrid(window.count);
    runKernel({
      kernel: "mix",
      constants: { ...constants, FORMAT: FORMAT_CODE[source.format] },
      bindings: {
        target_values: bindWindow(target.tensor, 4, window),
        source: bindWindow(source.tensor, bytesOf(source.format, 1), window),
      },
      params: { count: window.count, keep: 1 - share, share },
      workgroups: foldGrid(Math.ceil(window.count / constants.SPAN)),
    });
  }
  refreshWeightShift(target);
}

/** Twin of mix.wgsl. */
export function mixF64(target: ArrayLike<number>, source: ArrayLike<number>, share: number): Float64Array {
  return Float64Array.from(target, (value, i) => (1 - share) * value + share * source[i]);
}
