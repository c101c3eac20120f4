/** A step recorded for another device: its kernels, their work beside what the shape implies, and this device after. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { countTokens, forwardFlops } from "../../bench/model_flops.ts";
import { namedDevice } from "../../bench/predict/devices.ts";
import { type RecordedStep, recordStep, type StepOptions } from "../../bench/predict/plans.ts";
import { predict } from "../../bench/predict/predict.ts";
import { workOf } from "../../bench/predict/works.ts";
import { namedShape } from "../../bench/shapes.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { hasSimd8 } from "../../src/gpu/device_facts.ts";
import { matmulPrecision } from "../../src/gpu/precision.ts";

const H100 = namedDevice("h100");
const NAMED = namedShape("quickstart");
const { shape, promptTokens: P, settings: { max_completion_length: C = 0 } } = NAMED;
const recorded = (options: StepOptions) => recordStep(NAMED, H100, { precision: "float32", ...options });
const kernelsOf = ({ step: { calls } }: RecordedStep) =>
  new Set(calls.map(({ dispatch }) => dispatch.call.kernel));

/** Operations of products in some phases. */
function productsOf({ step: { calls, events } }: RecordedStep, ...phases: string[]): number {
  const each = calls.map(({ dispatch, seen }) => workOf(dispatch, seen).products ?? 0);
  return events.reduce(
    (sum, event) => event.type === "dispatch" && phases.includes(event.phase) ? sum + each[event.call] : sum,
    0,
  );
}

const near = (found: number, wanted: number, share: number) =>
  assert.ok(Math.abs(found / wanted - 1) <= share, `${found} is not ${wanted}`);

describe("a step recorded for an H100", () => {
  let plain: RecordedStep;
  let rows: number;
  before(async () => {
    await openGpu();
    plain = await recorded({});
    rows = plain.widths[0].rows;
  });
  after(closeGpu);

  it("runs the kernels of that device, and leaves this one as it was", async () => {
    const isHere = hasSimd8();
    const kernels = [...kernelsOf(plain)];
    assert.deepEqual(kernels.filter((name) => name.includes("simd8")), []);
    assert.ok(kernels.includes("linear_tile"));
    const halves = await recorded({ precision: "float16" });
    assert.ok(kernelsOf(halves).has("linear_matrix"));
    assert.equal(matmulPrecision(), "float32");
    assert.equal(hasSimd8(), isHere);
  });

  it("has no product where adapters are not asked for, and theirs where they are", async () => {
    const frozen = await recorded({ lora: "qv" });
    assert.ok(productsOf(frozen, "decode") > productsOf(plain, "decode"));
  });

  it("decodes, scores and refers with the products that the shape implies", () => {
    const flops = (count: number, from: number, to: number, headRows: number) =>
      forwardFlops(shape, countTokens(Array(count).fill({ from, to, headRows })));
    const prompts = rows / (NAMED.settings.num_generations ?? 1);
    near(productsOf(plain, "decode"), flops(rows, P, P + C - 1, C - 1), 0.02);
    const whole = (shared: number, length: number, headRows: number) =>
      flops(prompts, 0, shared, 0) + flops(rows, shared, length, headRows);
    // A product goes over every row of a padded pass, and attention over pairs of four.
    near(productsOf(plain, "score"), 2 * whole(P, P + C, 0), 0.1);
    near(productsOf(plain, "reference"), whole(P - 1, P + C - 1, C), 0.1);
  });

  it("is told phase by phase, and token by token at each width", () => {
    const { phases, tokens, endingSeconds } = predict(plain, H100);
    assert.deepEqual(
      phases.map(({ name }) => name),
      ["prefill", "decode", "score", "reference", "forward", "backward", "recompute", "optimizer"],
    );
    for (const { name, floor, busy } of phases) assert.ok(floor > 0 && floor < busy, name);
    const [first, , last] = tokens;
    assert.ok(first.held < last.held && first.seconds <= last.seconds);
    assert.ok(tokens.at(-1)!.rows < first.rows);
    assert.ok(endingSeconds > 0);
  });

  it("ends with its own last submit, whatever is recorded after it", () => {
    const { events } = plain.step;
    const last = events.findLastIndex(({ type }) => type === "dispatch");
    assert.ok(events.slice(last).filter(({ type }) => type === "submit").length <= 3);
  });

  it("decodes fewer rows in narrower plans where completions end by and by", () => {
    const decoding = plain.ending.calls.filter(({ dispatch }) =>
      dispatch.call.kernel === "attention_decode_split"
    );
    const [first, ...narrower] = new Set(decoding.map(({ dispatch }) => dispatch.call.params.rows));
    assert.equal(first, rows);
    assert.ok(narrower.length > 0 && narrower.every((width) => width < rows), `${narrower}`);
  });
});
