/** Ops in @jax-js/jax, under jit, for the cases that it can be asked for. */
import { blockUntilReady, jit, nn, numpy as np } from "@jax-js/jax";
import { awaitGpu } from "../../src/gpu/device.ts";
import { assertGpuHealthy } from "../../src/gpu/failure.ts";
import type { CaseInput, OpCase } from "../../test/cases/case.ts";
import { holdAgainst, peerTolerance } from "../correctness.ts";
import type { CasePeer } from "../op_timing.ts";
import { initJax } from "./jax_device.ts";

type Named = Record<string, np.Array>;
const EPS = 1e-5;
/** Runs that are queued before they are waited for, as ours are. */
const QUEUED_RUNS = 16;

interface JaxOp {
  /** A case with other operands is another computation. */
  operands: string[];
  /** The op's first output from its operands by name, all of which it owns; only for f32 operands. */
  run(operands: Named): np.Array;
}

const OPS: Record<string, JaxOp> = {
  swiglu: { operands: ["gate", "up"], run: ({ gate, up }) => nn.silu(gate).mul(up) },
  rms_norm: {
    operands: ["w", "x"],
    run: ({ x, w }) =>
      x.ref.mul(np.reciprocal(np.sqrt(np.square(x).mean(-1, { keepdims: true }).add(EPS)))).mul(w),
  },
  linear: { operands: ["w", "x"], run: ({ x, w }) => np.matmul(x, w.transpose()) },
};

const mapValues = <From, To>(named: Record<string, From>, to: (value: From) => To) =>
  Object.fromEntries(Object.entries(named).map(([name, value]) => [name, to(value)]));

function fits(op: string, { inputs }: OpCase): boolean {
  return Object.keys(inputs).sort().join() === OPS[op]?.operands.join() &&
    Object.values(inputs).every(({ values, weight = "f32" }) =>
      weight === "f32" && values instanceof Float64Array
    );
}

/** @param device that it shares with tfjs and our kernels */
export async function jaxPeer(device: GPUDevice): Promise<CasePeer> {
  await initJax(device);
  return {
    name: "jax-js",
    async prepare(op, opCase, copies) {
      if (!fits(op, opCase)) return null;
      const toJax = ({ values, shape }: CaseInput) => np.array(Float32Array.from(values)).reshape(shape);
      const operands = Array.from({ length: copies }, () => mapValues(opCase.inputs, toJax));
      const run = jit(OPS[op].run);
      const refs = (own: Named): Named => mapValues(own, (x) => x.ref);
      const dispose = () => {
        operands.forEach((own) => Object.values(own).forEach((x) => x.dispose()));
        run.dispose();
      };
      const outputs = async () => [await awaitGpu(run(refs(operands[0])).data()) as Float32Array];
      await holdAgainst(opCase, { name: "jax-js", tolerance: peerTolerance(opCase) + 1e-6, outputs });
      let turn = 0;
      return {
        async seconds(times) {
          const begin = performance.now();
          for (let left = times; left > 0; left -= QUEUED_RUNS) {
            const made = Array.from(
              { length: Math.min(left, QUEUED_RUNS) },
              () => run(refs(operands[turn++ % copies])),
            );
            await awaitGpu(blockUntilReady(made));
            made.forEach((output) => output.dispose());
          }
          assertGpuHealthy();
          return (performance.now() - begin) / 1000;
        },
        dispose,
      };
    },
  };
}
