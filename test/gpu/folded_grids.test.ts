/**
 * Every op equals its twin where its grid is folded over x and y, with workgroups left over. WebGPU folds from 65536
 * workgroups on; here all do from 3 on, so that every case of every op gets there. The kernels that a GPU would run:
 * test/gpu_variants/folded_grids.test.ts.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { OpCase } from "../cases/case.ts";
import { hasSimd8 } from "../../src/gpu/device_facts.ts";
import { foldGrid } from "../../src/gpu/grids.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { kernelNames, linkKernel } from "../../src/gpu/wgsl.ts";
import { type Dispatch, withDispatchLog } from "../../src/gpu/trial_modes.ts";
import { MODES, runCase } from "./asked_kernels.ts";
import { checkForward, checkGradient, type Mode } from "./case_checks.ts";
import { folded, foldedCases } from "./folded.ts";
import { isRunHere } from "./heavy_cases.ts";
import { missingVariants } from "../condition_sets.ts";
import { leftOut } from "../left_out.ts";

const suites = await foldedCases();

/** One workgroup, always. */
const ALONE = "weight_shift";

const product = ({ workgroups }: Dispatch) => workgroups.reduce((a, b) => a * b, 1);

/** What a case dispatches, gradient and all, where nothing is run. */
function dispatchesOf(opCase: OpCase, mode: Mode): Dispatch[] {
  const log: Dispatch[] = [];
  withDispatchLog(log, () => runCase(opCase, mode));
  return log;
}

/** What no case of a kernel reaches. */
function unreached(kernel: string, reached: ReadonlySet<string>): string[] {
  const labels = [...reached].map((label) => label.split(" ")).filter(([name]) => name === kernel);
  return missingVariants(
    kernel,
    labels.map((label) => ({ holds: (name) => label.includes(name) })),
    hasSimd8(),
  );
}

describe("folded grids", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("hold every workgroup, within the limit, and few that are left over", () => {
    const counts = [1, 2, 65535, 65536, 65537, 65538, 65539, 131070, 131071, 131072, 199_999, 4_294_000_001];
    for (const count of counts) {
      const [x, y, z] = foldGrid(count);
      assert.ok(x <= 65535 && y <= 65535 && z === 1, `${count}: ${x} x ${y} x ${z}`);
      assert.ok(x * y >= count && x * y - count < y, `${count}: ${x} x ${y}`);
    }
    assert.deepEqual(foldGrid(65535), [65535, 1, 1]);
    assert.deepEqual(foldGrid(65537), [32769, 2, 1]);
  });

  for (const opCase of suites.flatMap(({ cases }) => cases.filter(isRunHere))) {
    it(`${opCase.name}: forward`, () => checkForward(opCase, folded));
    if (opCase.gradient) it(`${opCase.name}: gradient`, () => checkGradient(opCase, folded));
  }

  it("are reached, with a workgroup left over, by a case of every kernel that refolds its grid", async (t) => {
    if (process.env.OP) return t.skip(leftOut(t.name, "OP leaves out the cases of other ops"));
    const reached = new Set<string>();
    await rehearse(() => {
      for (const mode of MODES) {
        for (const opCase of suites.flatMap(({ cases }) => cases)) {
          const flat = dispatchesOf(opCase, mode);
          const wrapped = dispatchesOf(opCase, (body) => folded(() => mode(body)));
          assert.deepEqual(
            wrapped.map(({ kernel }) => kernel),
            flat.map(({ kernel }) => kernel),
            opCase.name,
          );
          wrapped.forEach((dispatch, i) => {
            if (product(dispatch) > product(flat[i])) reached.add(dispatch.kernel);
          });
        }
      }
      return Promise.resolve();
    });
    const refolding = kernelNames().filter((kernel) =>
      kernel !== ALONE && linkKernel(kernel).text.includes("num_workgroups")
    );
    assert.ok(refolding.length > 20);
    assert.deepEqual(refolding.flatMap((kernel) => unreached(kernel, reached)), []);
  });
});
