/** What whoever puts a run together may be told meanwhile. Nothing on this floor prints. */

export interface BytesMoved {
  /** Of what: a hub id, or a folder. */
  id: string;
  doneBytes: number;
  totalBytes: number;
}

/** Who watches one move of bytes from its beginning. */
export interface BytesWatcher {
  update(moved: BytesMoved): void;
  /** The move has ended, or failed. */
  close(): void;
}

export interface LoadingEvents {
  /** A model is about to come from a hub, or its weights from disk, or to be compared with what training made of it. */
  onBytes?(doing: "downloading" | "loading" | "comparing"): BytesWatcher;
  /** A line about what is waited for, or what was met. */
  onMessage?(text: string): void;
}

/** What measuring the kernels came to. */
export interface KernelsMeasured {
  seconds: number;
  /** The file that keeps it. */
  path: string;
  /** Why it could not be kept; undefined when it was. */
  failure: string | undefined;
}

export interface TuningEvents {
  /** Before the first and after each of `total` kernels that are measured. */
  onMeasuring?(done: number, total: number): void;
  onMeasured?(measured: KernelsMeasured): void;
}

export interface AssemblyEvents extends LoadingEvents, TuningEvents {}
