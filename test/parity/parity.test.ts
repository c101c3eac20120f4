/** Every line of docs/parity.md, held to its limit. `npm run parity` writes the table. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { parityAreas } from "./areas.ts";
import { cell, shortNumber } from "./document.ts";

it("docs/parity.md has a row for every comparison, with its limit; npm run parity writes it", () => {
  const page = readFileSync(new URL("../../docs/parity.md", import.meta.url), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| ") && !/^\| (compared|---) /.test(line));
  const lines = parityAreas.flatMap(({ lines }) => lines);
  assert.equal(rows.length, lines.length);
  lines.forEach(({ what, limit }, i) => {
    assert.ok(rows[i].startsWith(`| ${cell(what)} |`), `${rows[i]} is not about "${what}"`);
    assert.match(rows[i], new RegExp(`\\| ${shortNumber(limit).replace(".", "\\.")}(:.*)? \\|$`));
  });
});

describe("the same numbers as the reference programs", () => {
  before(openGpu);
  after(closeGpu);
  for (const { title, lines } of parityAreas) {
    describe(title, () => {
      for (const line of lines) {
        it(`${line.what} (${line.reference}): ${line.measure} <= ${line.limit}`, async () => {
          const worst = await line.worst();
          assert.ok(worst <= line.limit, `worst error ${worst} is above ${line.limit}`);
        });
      }
    });
  }
});
