/** Grids folded from 3 workgroups on, in place of the 65536 of WebGPU. */
import { withFoldLimit } from "../../src/gpu/trial_modes.ts";
import { allCases, isLarge, type Mode } from "./case_checks.ts";

/** An odd number of workgroups above it leaves one of the last row without work. */
const LIMIT = 2;

export const folded: Mode = (body) => withFoldLimit(LIMIT, body);

/** Cases of every op, without those that are folded anyhow. */
export const foldedCases = async () =>
  (await allCases()).map(({ op, cases }) => ({ op, cases: cases.filter((opCase) => !isLarge(opCase)) }));
