/** What gated activations (GLU variants, arXiv:2002.05202) share: two inputs of one shape, and joint gradients. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp, jointGradients } from "../../gpu/op.ts";
import { flatGrid } from "../../gpu/grids.ts";

/** An op's name in tfjs, and its kernels: gate, up -> y; gate, up, dy -> dgate, dup. */
interface GatedKernels {
  name: string;
  kernel: string;
  gradKernel: string;
}

/** act(gate) * up, element by element; f32 [N,F] all. */
type Gated = (gate: Tensor, up: Tensor) => Tensor;

export function defineGated({ name, kernel, gradKernel }: GatedKernels): Gated {
  const gradOp = defineOp<"gate" | "up" | "dy", null>({
    name: `${name}Grad`,
    forward({ gate, up, dy }) {
      const dgate = newTensor(gate.shape);
      const dup = newTensor(gate.shape);
      const { count, ...grid } = flatGrid(gate.shape[0] * gate.shape[1]);
      runKernel({ kernel: gradKernel, ...grid, bindings: { gate, up, dy, dgate, dup }, params: { count } });
      return [dgate, dup];
    },
  });
  const op = defineOp<"gate" | "up", null>({
    name,
    forward({ gate, up }) {
      const y = newTensor(gate.shape);
      const { count, ...grid } = flatGrid(gate.shape[0] * gate.shape[1]);
      runKernel({ kernel, ...grid, bindings: { gate, up, y }, params: { count } });
      return y;
    },
    saves: { inputs: ["gate", "up"] },
    gradient(dy, [gate, up]) {
      return jointGradients(["gate", "up"], gradOp({ gate, up, dy: dy as Tensor }, null));
    },
  });
  return (gate, up) => op({ gate, up }, null)[0];
}
