/** Counting a device's buffers, on which every memory plan rests. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { countBuffers } from "../../src/gpu/memory.ts";

it("countBuffers() keeps the most that there was at a time, and takes each buffer off once", () => {
  const device = { createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy() {} }) };
  const memory = countBuffers(device as unknown as GPUDevice);
  const make = (size: number) => (device as unknown as GPUDevice).createBuffer({ size, usage: 0 });
  const [first, second] = [make(100), make(50)];
  first.destroy();
  first.destroy();
  assert.deepEqual(memory(), { liveBytes: 50, peakBytes: 150 });
  make(20);
  assert.deepEqual(memory(), { liveBytes: 70, peakBytes: 150 });
  second.destroy();
  make(200);
  assert.deepEqual(memory(), { liveBytes: 220, peakBytes: 220 });
});

it("countBuffers() counts a new peak from what is held when the one before is forgotten", () => {
  const device = { createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy() {} }) };
  const memory = countBuffers(device as unknown as GPUDevice);
  const make = (size: number) => (device as unknown as GPUDevice).createBuffer({ size, usage: 0 });
  make(30);
  make(100).destroy();
  memory.forgetPeak();
  assert.deepEqual(memory(), { liveBytes: 30, peakBytes: 30 });
  make(20);
  assert.deepEqual(memory(), { liveBytes: 50, peakBytes: 50 });
});
