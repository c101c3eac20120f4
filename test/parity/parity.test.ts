/** Every line of docs/parity.md, held to its limit. `npm run parity` writes the table. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { parityAreas } from "./areas.ts";
import { cell, errorText, shortNumber, UNMEASURED } from "./document.ts";
import { leftOut } from "../left_out.ts";
import {
  isLimitHonest,
  isWithin,
  LOOSEST,
  measureLine,
  relativeFrobenius,
  worstOfRowMax,
  worstRelative,
} from "./line.ts";

const page = readFileSync(new URL("../../docs/parity.md", import.meta.url), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| ") && !/^\| (compared|---) /.test(line));
const lines = parityAreas.flatMap((area) => area.lines);

it("docs/parity.md has a row for every comparison, with its limit; npm run parity writes it", () => {
  assert.equal(rows.length, lines.length);
  lines.forEach(({ what, limit }, i) => {
    assert.ok(rows[i].startsWith(`| ${cell(what)} |`), `${rows[i]} is not about "${what}"`);
    assert.match(rows[i], new RegExp(`\\| ${shortNumber(limit).replace(".", "\\.")}(:.*)? \\|$`));
  });
});

it(`no limit is above ${LOOSEST} times the error measured in Node and in Deno, or it says why`, () => {
  for (const [i, row] of rows.entries()) {
    const cells = row.split(" | ").slice(-3, -1);
    const errors = cells.filter((text) => !(lines[i].missing && text.startsWith(UNMEASURED))).map(Number);
    assert.ok(errors.every((error) => error >= 0), `${row}: the last columns but one are not errors`);
    assert.ok(isLimitHonest(errors, lines[i]), `${row}: tighten the limit, or write a reason beside it`);
  }
});

it("a comparison of nothing fails", () => {
  for (const compare of [relativeFrobenius, worstRelative]) assert.throws(() => compare([], []), /Nothing/);
  assert.throws(() => worstOfRowMax([], [], 4), /Nothing/);
  const line = { ...lines[0], limit: 1 };
  assert.ok(isWithin(0.5, line) && isWithin(0, line) && !isWithin(2, line));
  for (const worst of [Math.max(), NaN, Infinity]) assert.ok(!isWithin(worst, line), `${worst} passes`);
});

it("a line that the device cannot measure is told with what is missing, not measured, and no error", async () => {
  const worst = () => Promise.reject(new Error("was measured"));
  const line = { ...lines[0], worst, missing: () => "it lacks units" };
  const measured = await measureLine(line);
  assert.equal(errorText(measured), `${UNMEASURED} it lacks units`);
  assert.ok(isWithin(measured, line));
  assert.equal(await measureLine({ ...line, worst: () => 3, missing: () => undefined }), 3);
});

describe("the same numbers as the reference programs", () => {
  before(openGpu);
  after(closeGpu);
  for (const { title, lines } of parityAreas) {
    describe(title, () => {
      for (const line of lines) {
        it(`${line.what} (${line.reference}): ${line.measure} <= ${line.limit}`, async (test) => {
          const missing = line.missing?.();
          if (missing !== undefined) return test.skip(leftOut(test.name, missing));
          const worst = await line.worst();
          assert.ok(isWithin(worst, line), `worst error ${worst} is above ${line.limit}`);
        });
      }
    });
  }
});
