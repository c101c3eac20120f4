/** Plot geometry that is independent of SVG: ticks at round numbers and how to write them. */

/**
 * Round tick positions that lie in [min, max], about `target` of them: multiples of 1, 2 or 5 times a power
 * of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems 1990).
 */
export function niceTicks(min: number, max: number, target = 5): number[] {
  const step = niceStep((max - min) / Math.max(target, 1));
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  // Multiply, and round off what the product adds: 3 * 0.1 is not 0.3.
  return Array.from(
    { length: last - first + 1 },
    (_, index) => Number(((first + index) * step).toPrecision(12)),
  );
}

/**
 * The interval to draw for values in [min, max]: a little wider, and never so narrow that the ticks' digits would
 * not tell them apart.
 */
export function paddedRange(min: number, max: number): [number, number] {
  const span = max - min;
  if (span > 1e-3 * Math.max(Math.abs(min), Math.abs(max))) return [min - 0.05 * span, max + 0.05 * span];
  const around = Math.abs(min) > 0 ? Math.abs(min) * 0.1 : 1;
  return [min - around, max + around];
}

/** A tick or a headline number in as few characters as its significant digits need. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    return value.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  return String(Number(value.toPrecision(size >= 1000 ? 6 : digits)));
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const fraction = raw / power;
  if (fraction < 1.5) return power;
  if (fraction < 3) return 2 * power;
  if (fraction < 7) return 5 * power;
  return 10 * power;
}
