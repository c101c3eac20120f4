/** What is queued for the GPU. */
import { tfjsBackend } from "./backend.ts";
import { awaitGpu } from "./device.ts";

/** Submits what is queued. */
export function flush(): void {
  const backend = tfjsBackend();
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
}

/** Resolves once the GPU has done all that was submitted. */
export async function settle(): Promise<void> {
  flush();
  await awaitGpu(tfjsBackend().queue.onSubmittedWorkDone());
}
