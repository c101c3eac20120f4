/** Ordinary least squares of a line. Pure. */

export interface Line {
  slope: number;
  intercept: number;
  /** Share of the variance that the line explains; 1 where there is none. */
  r2: number;
  /** y - line(x), in order. */
  residuals: number[];
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** @throws RangeError when there are fewer than two different x, or not as many y */
export function fitLine(xs: readonly number[], ys: readonly number[]): Line {
  const [mx, my] = [mean(xs), mean(ys)];
  const sxx = xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
  if (!(sxx > 0) || xs.length !== ys.length) {
    throw new RangeError(
      `Cannot fit a line to ${xs.length} x and ${ys.length} y: need as many, and two different x`,
    );
  }
  const slope = xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i] - my), 0) / sxx;
  const intercept = my - slope * mx;
  const residuals = ys.map((y, i) => y - (intercept + slope * xs[i]));
  const total = ys.reduce((sum, y) => sum + (y - my) ** 2, 0);
  const left = residuals.reduce((sum, residual) => sum + residual ** 2, 0);
  return { slope, intercept, r2: total === 0 ? 1 : 1 - left / total, residuals };
}
