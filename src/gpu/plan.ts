/** A recorded sequence of kernels over fixed buffers, replayed without building anything again. */
import * as tf from "@tensorflow/tfjs";
import { assertGpuHealthy } from "./device.ts";
import { modes, type RecordedDispatch, tfjsBackend } from "./backend.ts";
import { flush } from "./queue.ts";
import { recordKernels } from "./recording.ts";

export interface Plan {
  /** What a replay runs, in order. */
  readonly dispatches: readonly RecordedDispatch[];
  /** GPU memory of the plan's own intermediates. */
  readonly sizeBytes: number;
  /** Queues the whole sequence `times` times, in order, after everything queued before. */
  replay(times?: number, timestampWrites?: GPUComputePassTimestampWrites): void;
  /** Frees the intermediates. Tensors that the caller made stay the caller's. */
  dispose(): void;
}

export interface RecordedPlan<Outputs> extends Plan {
  /** What `build` returned; each replay writes it anew. The tensors are the plan's own, and gone with it. */
  readonly outputs: Outputs;
}

/**
 * Records the kernels that `build` runs. `build` may only use our ops, and reads and writes tensors that exist
 * before the call and outlive the plan. What changes from replay to replay (position, tokens) lives in such tensors.
 */
export function recordPlan<Outputs>(build: () => Outputs): RecordedPlan<Outputs> {
  if (modes.replaysAfresh) return unrecorded(build);
  const { dispatches, outputs, invalidateWritten, sizeBytes, dispose } = recordKernels(build);
  return {
    outputs,
    dispatches,
    sizeBytes,
    replay(times = 1, timestampWrites) {
      assertGpuHealthy();
      flush();
      const { device } = tfjsBackend();
      const encoder = device.createCommandEncoder();
      let pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
      let current: GPUComputePipeline | null = null;
      for (let round = 0; round < times; round++) {
        for (const dispatch of dispatches) {
          if (modes.profiling) {
            pass.end();
            pass = modes.profiling.beginPass(encoder, dispatch);
          }
          const { pipeline, bindGroup, workgroups } = dispatch;
          if (pipeline !== current) pass.setPipeline(pipeline);
          current = modes.profiling ? null : pipeline;
          pass.setBindGroup(0, bindGroup);
          pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
        }
      }
      pass.end();
      invalidateWritten();
      device.queue.submit([encoder.finish()]);
    },
    dispose,
  };
}

/** The same kernels in the same order, without a recording, for what writes into tensors of the caller's. */
function unrecorded<Outputs>(build: () => Outputs): RecordedPlan<Outputs> {
  return {
    outputs: undefined as Outputs,
    dispatches: [],
    sizeBytes: 0,
    replay(times = 1) {
      for (let round = 0; round < times; round++) tf.tidy(() => void build());
      flush();
    },
    dispose() {},
  };
}
