/** A training step of four layers of a 7B model, phase by phase, as the program runs it: in both precisions. */
import { openGpu } from "../../src/gpu/device.ts";
import { type MatmulPrecision, matrixUnitsMissing, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { messageOf } from "../../src/io/files/errors.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { formatBytes } from "../../src/config/units.ts";
import { runJob } from "../job.ts";
import { openJob } from "../job_model.ts";
import { type NamedShape, SHAPES } from "../shapes.ts";
import type { PartContext } from "./report_line.ts";

/** As many layers of the model as fit the minutes; a step's phases grow with them, but for the head. */
const LAYERS = 4;
const TOKENS = 64;

interface JobVariant {
  name: string;
  precision: MatmulPrecision;
  settings: Partial<RunConfig>;
}

function shapeOf({ settings, isSmall }: { settings: Partial<RunConfig>; isSmall: boolean }): NamedShape {
  const named = isSmall ? SHAPES.quickstart : SHAPES["7b"];
  const layers = isSmall ? named.shape.layers : LAYERS;
  const tokens = { max_completion_length: isSmall ? 8 : TOKENS };
  return {
    ...named,
    shape: { ...named.shape, layers },
    settings: { ...named.settings, ...tokens, ...settings },
  };
}

async function reportVariant({ name, precision, settings }: JobVariant, { isSmall, say }: PartContext) {
  const gpu = await openGpu();
  setMatmulPrecision(precision);
  const job = await openJob(shapeOf({ settings, isSmall }), gpu);
  try {
    say({ kind: "fact", name: `${name}: planned memory`, value: formatBytes(job.plan.peakBytes) });
    const { phases } = await runJob(job, gpu, { repeats: 1, onPhase: () => {} });
    for (const { name: phase, timing, flops, kernels } of phases) {
      const unit = precision === "float16" ? "matrix" as const : "fma" as const;
      say({ kind: "measured", name: `${name}: ${phase}`, seconds: timing.seconds, flops, unit });
      const longest = (kernels ?? []).slice(0, 5).map(({ kernel, calls, seconds }) =>
        `${kernel} ${(seconds * 1e3).toFixed(1)} ms in ${calls}`
      );
      const js = `JavaScript ${(timing.jsSeconds * 1e3).toFixed(0)} ms`;
      say({ kind: "fact", name: `${name}: ${phase}, longest kernels`, value: [js, ...longest].join("; ") });
    }
    say({ kind: "fact", name: `${name}: memory taken`, value: formatBytes(gpu.memory().peakBytes) });
  } finally {
    job.dispose();
  }
}

/** Says the phases of a step, in float16 first: that is how a card with matrix units runs. */
export async function reportJob(context: PartContext): Promise<void> {
  await openGpu();
  const missing = matrixUnitsMissing();
  if (missing !== undefined) context.say({ kind: "left out", name: "steps in float16", reason: missing });
  const precisions: MatmulPrecision[] = missing === undefined ? ["float16", "float32"] : ["float32"];
  const variants = precisions.flatMap((precision): JobVariant[] => [
    {
      name: `${precision}, adapters on q and v`,
      precision,
      settings: { lora_target_modules: ["q_proj", "v_proj"] },
    },
    { name: `${precision}, adapters on all`, precision, settings: { lora_target_modules: "all-linear" } },
  ]);
  for (const variant of variants) {
    try {
      await reportVariant(variant, context);
    } catch (error) {
      context.say({ kind: "left out", name: variant.name, reason: messageOf(error).split("\n")[0] });
    }
  }
}
