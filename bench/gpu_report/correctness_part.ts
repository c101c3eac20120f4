/** Whether the kernels that run on this device are right: every op against its f64 twin, at all sizes of the tests. */
import { openGpu } from "../../src/gpu/device.ts";
import { messageOf } from "../../src/io/files/errors.ts";
import { caseArrays } from "../../test/cases/operands.ts";
import { caseSuites } from "../../test/cases/suites.ts";
import { holdAgainst } from "../correctness.ts";
import type { PartContext } from "./report_line.ts";

/** Says of every op how many of its cases are right, and what is wrong with the others. */
export async function reportCorrectness({ isSmall, say }: PartContext): Promise<void> {
  await openGpu();
  for (const { op, cases } of await caseSuites(undefined)) {
    const tried = cases.filter(({ benchOnly }) => !benchOnly).slice(0, isSmall ? 2 : undefined);
    const wrong: string[] = [];
    for (const opCase of tried) {
      const outputs = () => Promise.resolve(opCase.twin(caseArrays(opCase)));
      try {
        await holdAgainst(opCase, { name: "its f64 twin", tolerance: opCase.tolerance, outputs });
      } catch (error) {
        wrong.push(`${opCase.name}: ${messageOf(error).split("\n")[0]}`);
      }
    }
    const right = `${tried.length - wrong.length} of ${tried.length} cases are right`;
    say({ kind: "fact", name: op, value: [right, ...wrong].join("; ") });
  }
}
