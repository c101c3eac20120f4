import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { formatNumber, niceTicks, paddedRange } from "../../src/tracking/plot_axes.ts";
import { linePlot, plotLegend, scatterPlot, scatterRange } from "../../src/tracking/plot_svg.ts";

describe("niceTicks()", () => {
  it("gives round numbers within the range", () => {
    assert.deepEqual(niceTicks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]);
    assert.deepEqual(niceTicks(-3.2, 7.9), [-2, 0, 2, 4, 6]);
    assert.deepEqual(niceTicks(0.11, 0.38), [0.15, 0.2, 0.25, 0.3, 0.35]);
  });

  it("gives two to twelve ascending ticks in any range, as far as f64 can tell them apart", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e4, max: 1e4, noNaN: true }),
        fc.integer({ min: -6, max: 6 }),
        (min, power) => {
          const max = min + 10 ** power;
          const ticks = niceTicks(min, max);
          assert.ok(ticks.length >= 2 && ticks.length <= 12, String(ticks));
          assert.ok(ticks.every((tick, index) => index === 0 || tick > ticks[index - 1]));
          assert.ok(
            ticks.every((tick) => tick >= min - 10 ** power / 100 && tick <= max + 10 ** power / 100),
          );
        },
      ),
    );
  });
});

it("paddedRange() is never empty", () => {
  assert.deepEqual(paddedRange(0, 0), [-1, 1]);
  assert.deepEqual(paddedRange(2, 2), [1.8, 2.2]);
});

it("formatNumber() is short and says when a value is not finite", () => {
  const shown = [0, 0.5, -1.23456, 12345.678, 5e-6, 1.5e7, NaN].map((value) => formatNumber(value));
  assert.deepEqual(shown, ["0", "0.5", "-1.235", "12345.7", "5e-6", "1.5e7", "not finite"]);
  assert.equal(formatNumber(0.12345, 2), "0.12");
});

describe("linePlot()", () => {
  const series = [{ label: "a", steps: [1, 2, 3], values: [0, 2, 4], style: "line" as const }];

  it("maps the first step to the left edge and the last to the right, greater values higher", () => {
    const path = /class="bold s0" d="M([\d.]+) ([\d.]+)L[\d. ]+L([\d.]+) ([\d.]+)"/.exec(
      linePlot({ title: "t", series }),
    );
    assert.ok(path);
    const [x0, y0, x2, y2] = path.slice(1).map(Number);
    assert.deepEqual([x0, x2], [58, 546]);
    assert.ok(y0 > y2);
  });

  it("tells a reader who does not see it how each series went", () => {
    assert.match(
      linePlot({ title: "t", series }),
      /role="img".*<desc>a: first 0, last 4, between 0 and 4\.<\/desc>/,
    );
  });

  it("draws a single value and no value without a number that is not one", () => {
    const one = { label: "a", steps: [3], values: [5], style: "trend" as const };
    const none = { label: "b", steps: [], values: [], style: "dots" as const };
    for (const list of [[one], [none], [one, none]]) {
      assert.doesNotMatch(linePlot({ title: "t", series: list }), /NaN|Infinity|undefined/);
    }
  });

  it("draws the threshold inside the picture, even when all values are far from it", () => {
    const svg = linePlot({ title: "t", series, threshold: { value: -50, label: "limit" } });
    const y = Number(/class="threshold"[^>]*y1="([\d.]+)"/.exec(svg)?.[1]);
    assert.ok(y > 34 && y < 240, String(y));
  });
});

describe("scatterPlot()", () => {
  it("counts the quadrants: cost 0 is safe, reward 0 is not helpful", () => {
    const svg = scatterPlot({ title: "t", rewards: [1, 0, 2, -1, 3], costs: [0, -1, 5, 2, -2] });
    for (const label of ["SH 2 (40%)", "SU 1 (20%)", "UH 1 (20%)", "UU 1 (20%)"]) {
      assert.ok(svg.includes(label), label);
    }
  });

  it("can be empty", () => {
    assert.doesNotMatch(scatterPlot({ title: "t", rewards: [], costs: [] }), /NaN|Infinity|undefined/);
  });
});

it("plot labels cannot break out of the markup", () => {
  const label = `</svg><script>alert("x")</script>`;
  const series = [{ label, steps: [1], values: [1], style: "line" as const }];
  const markup = linePlot({ title: label, series, threshold: { value: 0, label } }) + plotLegend([label]);
  assert.doesNotMatch(markup, /<script|alert\("/);
});

it("0, where safe and unsafe part, is within a scatter plot's range whatever the values", () => {
  for (const values of [[1, 2], [-3, -1], [-1, 1], []]) {
    const [min, max] = scatterRange(values);
    assert.ok(min <= 0 && max >= 0, `${values}: ${min} to ${max}`);
  }
});
