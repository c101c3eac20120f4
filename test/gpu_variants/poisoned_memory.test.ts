/** Run with poisoned_memory.ts loaded and Dawn's clearing off: what the passes say of memory holds. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { modes } from "../../src/gpu/backend.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { emptyTensor, readTensor } from "../../src/gpu/tensors.ts";
import { isStale, STALE_WORDS } from "../../src/gpu/trial_modes.ts";

const WORDS = 256;
const WORKGROUPS = 4;
/** Stores what each workgroup finds in its memory. */
const READER = `
var<workgroup> found: array<u32, ${WORDS}>;
@group(0) @binding(0) var<storage, read_write> seen: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  for (var i = lane; i < ${WORDS}u; i += 64u) { seen[group.x * ${WORDS}u + i] = found[i]; }
}
`;

describe("poisoned memory", () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  async function wordsOf(buffer: GPUBuffer, encoder: GPUCommandEncoder): Promise<Uint32Array> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const copy = gpu.device.createBuffer({ size: buffer.size, usage });
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
    gpu.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    return new Uint32Array(copy.getMappedRange());
  }

  it("of a workgroup is not cleared, and holds words that nobody computes", async () => {
    const { device } = gpu;
    const compute = { module: device.createShaderModule({ code: READER }) };
    const pipeline = device.createComputePipeline({ layout: "auto", compute });
    const buffer = device.createBuffer({
      size: WORKGROUPS * WORDS * 4,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    });
    const entries = [{ binding: 0, resource: { buffer } }];
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const encoder = device.createCommandEncoder();
    const call = { kernel: "reader", conditions: {}, constants: {}, params: {}, bytes: {} };
    const label = { kernel: "reader", boundBytes: buffer.size, call };
    const pass = modes.profiling!.beginPass(encoder, { ...label, workgroups: [WORKGROUPS, 1, 1] });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(WORKGROUPS);
    pass.end();
    const words = await wordsOf(buffer, encoder);
    assert.deepEqual([...words].filter((word) => !STALE_WORDS.includes(word)), []);
  });

  it("of a new buffer is not cleared", async () => {
    const buffer = gpu.device.createBuffer({ size: 1024, usage: GPUBufferUsage.COPY_SRC });
    const words = await wordsOf(buffer, gpu.device.createCommandEncoder());
    assert.ok(words.every((word) => word !== 0));
  });

  it("of a new tensor holds NaNs and large numbers", async () => {
    const values = await readTensor(emptyTensor([WORDS]));
    assert.ok([...values].every(isStale));
  });
});
