/** Every line of docs/parity.md, held to its limit. `npm run parity` writes the table. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { parityAreas } from "./areas.ts";

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
