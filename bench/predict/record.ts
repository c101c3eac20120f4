/**
 * What the program asks of a device, in order: kernels, submits, and waits for what is read back. Recorded on a device
 * that counts (src/gpu/rehearsal.ts), where nothing runs.
 */
import { type CalledDispatch, tfjsBackend } from "../../src/gpu/backend.ts";
import { withCalls } from "../../src/gpu/trial_modes.ts";
import type { Seen } from "./work.ts";

/** A kernel's call with what it meets, as often as it comes. */
export interface RecordedCall {
  dispatch: CalledDispatch;
  seen: Seen;
}

export type Event =
  /** @param call place among the calls; isNew: not a replay, so that JavaScript made it */
  | { type: "dispatch"; call: number; phase: string; isNew: boolean }
  | { type: "submit" }
  /** JavaScript goes on once the GPU has done what was submitted before: so many submits. */
  | { type: "wait"; submits: number };

export interface Recording {
  calls: RecordedCall[];
  events: Event[];
}

/** Where the program is: what its kernels count towards, and what they meet. */
export interface Place {
  phase: string;
  seen: Seen;
}

/** MAP_READ */
const READABLE = 1;

/** Tells of every submit and every wait of the counting device that is open. @returns what ends it */
function watchQueue(recording: Recording): () => void {
  const { device } = tfjsBackend();
  let submits = 0;
  const submit = device.queue.submit.bind(device.queue);
  device.queue.submit = (buffers) => {
    submits++;
    recording.events.push({ type: "submit" });
    submit(buffers);
  };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    if (!(descriptor.usage & READABLE)) return buffer;
    let asked = 0;
    const [mapAsync, getMappedRange] = [buffer.mapAsync.bind(buffer), buffer.getMappedRange.bind(buffer)];
    buffer.mapAsync = (...range) => {
      asked = submits;
      return mapAsync(...range);
    };
    buffer.getMappedRange = (...range) => {
      if (asked > 0) recording.events.push({ type: "wait", submits: asked });
      return getMappedRange(...range);
    };
    return buffer;
  };
  return () => {
    device.queue.submit = submit;
    device.createBuffer = createBuffer;
  };
}

/**
 * Records what `body` asks of the counting device that is open (call it in a rehearsal).
 * @param placeOf told of every kernel before it counts
 */
export async function recordCalls(
  placeOf: (dispatch: CalledDispatch) => Place,
  body: () => Promise<void>,
): Promise<Recording> {
  const recording: Recording = { calls: [], events: [] };
  const unwatch = watchQueue(recording);
  const known = new Map<CalledDispatch, Map<Seen, number>>();
  await withCalls((dispatch) => {
    const { phase, seen } = placeOf(dispatch);
    const isNew = !known.has(dispatch);
    if (isNew) known.set(dispatch, new Map());
    const bySeen = known.get(dispatch)!;
    let call = bySeen.get(seen);
    if (call === undefined) {
      call = recording.calls.push({ dispatch, seen }) - 1;
      bySeen.set(seen, call);
    }
    recording.events.push({ type: "dispatch", call, phase, isNew });
  }, body);
  unwatch();
  return recording;
}
