/** A checkpoint of a model of one tensor. */
import type { CheckpointContent } from "../../src/io/records/checkpoint.ts";

export const tensor = (name: string, fill: number) => ({
  name,
  dtype: "F32" as const,
  shape: [4],
  bytes: new Uint8Array(16).fill(fill),
});

/** A whole checkpoint of `step`; its weights hold the step. */
export function contentOf(step: number, state: unknown = { step }): CheckpointContent {
  return {
    step,
    weights: [tensor("w", step)],
    optimizer: [tensor("w.m", 7)],
    state,
    modelFiles: [],
    weightsFile: "model.safetensors",
  };
}
