/** A fault put into the code on purpose. `npm run mutants` asks of each whether the tests notice. */
export interface Fault {
  /** File of the fault, from the root: "src/train/loop.ts", "kernels/optimizer/adamw.wgsl". */
  file: string;
  /** Text that stands exactly once in the file... */
  find: string;
  /** ...and what stands there instead. It must still compile: a file that does not is noticed by anything. */
  replace: string;
  /** What a user would suffer from, as a claim about the broken program: "a resumed run starts over". */
  harm: string;
  /** Tests that ought to notice, nearest first; the next is asked only where those before pass. */
  tests: readonly TestSelection[];
  /** Number of the claim (claims.ts) that this fault breaks. */
  claim?: number;
  /** Why nothing that a user or a caller could see changes. Such a fault is neither run nor counted. */
  equivalent?: string;
}

/**
 * A test file below test/, and after "#" a pattern of test names, for `--test-name-pattern`:
 * "unit/lambda.test.ts", "gpu/ops.test.ts#rms_norm".
 */
export type TestSelection = string;
