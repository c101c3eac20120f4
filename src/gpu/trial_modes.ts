/** Ways to run kernels that only tests and benchmarks need. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { type CalledDispatch, GUARD_BITS, modes, type StatedAdapter, tfjsBackend } from "./backend.ts";
import { runKernel } from "./dispatch.ts";
import { byteSize, readTensor } from "./tensors.ts";
import { flatGrid } from "./grids.ts";

type Modes = typeof modes;

/** Runs `body` with some modes set; where it returns a promise, until that is settled. */
function withModes<R>(set: Partial<Modes>, body: () => R): R {
  const before = { ...modes };
  const restore = () => {
    for (const name of Object.keys(set) as (keyof Modes)[]) Object.assign(modes, { [name]: before[name] });
  };
  Object.assign(modes, set);
  let result: R | undefined;
  try {
    result = body();
  } finally {
    if (!(result instanceof Promise)) restore();
  }
  return result instanceof Promise ? result.finally(restore) as R : result;
}

/** What memory may hold that nobody wrote: a NaN is swallowed by max and min, a large number is not. */
export const STALE_WORDS = [GUARD_BITS, ...new Uint32Array(Float32Array.of(1e30, -1e30).buffer)];
const staleWords = (count: number) =>
  Uint32Array.from({ length: count }, (_, i) => STALE_WORDS[i % STALE_WORDS.length]);

/** Whether a word is one that `withGuardWords` puts into new tensors. */
export function isStale(value: number): boolean {
  return Number.isNaN(value) || Math.abs(value) === Math.fround(1e30);
}

/**
 * Runs `body` with every tensor made in it begun as NaNs and large numbers, as a buffer may hold whatever it held
 * before, and with guard words behind it, which `readGuarded` looks at. A word that no kernel writes stays so; in a
 * plan, at every replay.
 * @param words 0 where tensors are read by readTensor, which would take the guard words for values
 */
export function withGuardWords<R>(words: number, body: () => R): R {
  return withModes({ guardWords: words, begin: spoil }, body);
}

/** From now on every new tensor begins as under `withGuardWords(0)`: for a process that runs a whole test file so. */
export function beginStale(): void {
  modes.begin = spoil;
}

/** Reads a tensor made under withGuardWords: its values, and whether the words after them are untouched. */
export async function readGuarded(
  tensor: Tensor,
): Promise<{ values: Float32Array | Int32Array; intact: boolean }> {
  const all = await readTensor(tensor);
  const words = new Uint32Array(all.buffer, all.byteOffset, all.length);
  const intact = words.subarray(tensor.size).every((word) => word === GUARD_BITS);
  return { values: all.subarray(0, tensor.size), intact };
}

/** Of a device, a tensor of stale words that is at least so large. */
const staleTensors = new WeakMap<GPUDevice, TensorInfo>();

function staleTensor(words: number): TensorInfo {
  const { device, tensorMap } = tfjsBackend();
  const known = staleTensors.get(device);
  if (known && known.shape[0] >= words) return known;
  const size = 2 ** Math.ceil(Math.log2(Math.max(words, 1024)));
  // Of the device itself: a plan's own pool is gone with the plan.
  const buffer = device.createBuffer({ size: size * 4, usage: 0x80 | 0x08 }); // STORAGE | COPY_DST
  const info = tfjsBackend().makeTensorInfo([size], "float32");
  tensorMap.get(info.dataId).resource = buffer;
  device.queue.writeBuffer(buffer, 0, staleWords(size));
  staleTensors.set(device, info);
  return info;
}

/** Fills a new tensor with stale words: at once, or, while a plan is recorded, at that place of every replay. */
function spoil(tensor: TensorInfo): void {
  const words = byteSize(tensor) / 4;
  if (!modes.recording) {
    const { queue, tensorMap } = tfjsBackend();
    const buffer = tensorMap.get(tensor.dataId).resource!;
    queue.writeBuffer(buffer, 0, staleWords(words));
    return;
  }
  const { conditions, constants, count, workgroups } = flatGrid(words);
  runKernel({
    kernel: "add",
    conditions: { ...conditions, ONLY_B: true },
    constants,
    bindings: { b: staleTensor(words), y: tensor },
    params: { count, s: 1 },
    workgroups,
  });
}

/** Runs `body` with the plain kernels on a device that has better ones. */
export function withPlainKernels<R>(body: () => R): R {
  return withModes({ plainKernels: true }, body);
}

/** An NVIDIA card as kernels are chosen by it, without the matrix units that a trial cannot state. */
const NVIDIA: StatedAdapter = {
  vendor: "nvidia",
  architecture: "hopper",
  device: "stated by a trial",
  description: "",
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
};

/**
 * Runs `body` with the kernels, tiles and lanes that an NVIDIA card would be given, but for those that use operations
 * of its subgroups: the device's own have other lanes.
 */
export function withGpuLanes<R>(body: () => R): R {
  return withModes({ statedAdapter: NVIDIA }, body);
}

/** From now on kernels are chosen as `withGpuLanes` has them chosen: for a process that runs a whole test file so. */
export function takeGpuLanes(): void {
  modes.statedAdapter = NVIDIA;
}

/** Runs `body` with grids folded over x and y from so many workgroups on. */
export function withFoldLimit<R>(workgroups: number, body: () => R): R {
  return withModes({ foldLimit: workgroups }, body);
}

/** Runs `body` as on a device that binds at most so many bytes of a buffer. */
export function withBindingLimit<R>(bytes: number, body: () => R): R {
  return withModes({ bindingLimit: bytes }, body);
}

/**
 * Runs `body` with linear layers on matrix units, also on a device that cannot: its kernels are made and not run.
 * @param unit width of the matrices; the device's unless given
 */
export function withFloat16Matmuls<R>(body: () => R, unit: 16 | 8 | null = null): R {
  return withModes({ matmulPrecision: "float16", matrixUnit: unit }, body);
}

/** Runs `body` with plans that record nothing: a replay queues every kernel as if it were called for the first time. */
export function withoutReplay<R>(body: () => Promise<R>): Promise<R> {
  return withModes({ replaysAfresh: true }, body);
}

/**
 * Tells every kernel that `body` runs, in plans too. For devices that count: another would run each in a pass of its
 * own.
 */
export function withCalls<R>(tell: (dispatch: CalledDispatch) => void, body: () => R): R {
  const beginPass = (encoder: GPUCommandEncoder, dispatch: CalledDispatch) => {
    tell(dispatch);
    return encoder.beginComputePass();
  };
  return withModes({ profiling: { beginPass } }, body);
}

/** A kernel that was run, with its grid. */
export interface Dispatch {
  kernel: string;
  workgroups: readonly number[];
}

/** Runs `body` and adds to `log` every kernel that it runs outside of plans. */
export function withDispatchLog<R>(log: Dispatch[], body: () => R): R {
  const beginPass = (encoder: GPUCommandEncoder, { kernel }: { kernel: string }) => {
    const pass = encoder.beginComputePass();
    let isOurs = true; // a stock tfjs op may go on in this pass
    const dispatchWorkgroups = (...workgroups: [number, number?, number?]) => {
      if (isOurs) log.push({ kernel, workgroups: workgroups.map((count) => count ?? 1) });
      isOurs = false;
      return pass.dispatchWorkgroups(...workgroups);
    };
    // Around it, for the passes of a rehearsal keep nothing that is set.
    return new Proxy(pass, {
      get(target, name) {
        if (name === "dispatchWorkgroups") return dispatchWorkgroups;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  return withModes({ profiling: { beginPass } }, body);
}
