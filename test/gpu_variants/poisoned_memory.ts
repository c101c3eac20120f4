/**
 * Loaded before a test file: memory that a GPU leaves as it was is poisoned. Before each of our kernels the memory of
 * workgroups is filled with what would show in any result, and every new tensor begins so too, in plans at every replay.
 * Workgroup memory stays so only where Dawn does not clear it: toggle `disable_workgroup_init`.
 */
import { modes, tfjsBackend } from "../../src/gpu/backend.ts";
import { beginStale, STALE_WORDS } from "../../src/gpu/trial_modes.ts";

/** Their lanes write alike: each thread of a software GPU has memory of its own, so there must be only one thread. */
const WORKGROUPS = 2;

/** What is stored is known to no compiler, so that none leaves the memory out. */
const source = (words: number) => `
override LANES = 64u;
const STALE = array<u32, ${STALE_WORDS.length}>(${[...STALE_WORDS].map((word) => `${word}u`).join(", ")});
var<workgroup> left: array<u32, ${words}>;
@group(0) @binding(0) var<storage, read_write> seen: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  for (var i = lane; i < ${words}u; i += LANES) { left[i] = STALE[(i + group.x) % ${STALE_WORDS.length}u]; }
  workgroupBarrier();
  seen[group.x * LANES + lane] = left[(seen[lane] + lane) % ${words}u];
}
`;

interface Poison {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
}

const poisons = new WeakMap<GPUDevice, Poison>();

function poisonOf(device: GPUDevice): Poison {
  let made = poisons.get(device);
  if (made) return made;
  const module = device.createShaderModule({
    code: source(device.limits.maxComputeWorkgroupStorageSize / 4),
  });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const buffer = device.createBuffer({ size: WORKGROUPS * 64 * 4, usage: GPUBufferUsage.STORAGE });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer } }],
  });
  poisons.set(device, made = { pipeline, group });
  return made;
}

/** A pass for one kernel, with all memory of workgroups poisoned before it. */
function beginPoisonedPass(encoder: GPUCommandEncoder): GPUComputePassEncoder {
  const { pipeline, group } = poisonOf(tfjsBackend().device);
  const poisoning = encoder.beginComputePass();
  poisoning.setPipeline(pipeline);
  poisoning.setBindGroup(0, group);
  poisoning.dispatchWorkgroups(WORKGROUPS);
  poisoning.end();
  return encoder.beginComputePass();
}

modes.profiling = { beginPass: beginPoisonedPass };
beginStale();
