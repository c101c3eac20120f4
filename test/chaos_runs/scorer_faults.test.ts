/** Every fault that a scorer's answers can have: no score is invented, what passes is waited for, what is wrong is told. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tellRow } from "./counts.ts";
import { RUNTIMES, startIn } from "./runtimes.ts";
import { scorerFaults, TRUTH } from "./scorer_fault_list.ts";
import type { Met } from "./scorer_faults_program.ts";

const faults = scorerFaults("http://elsewhere");

describe("faults of a scorer's answers", () => {
  for (const runtime of RUNTIMES) {
    it(`${runtime}: each ends as it must, and scores are those that the scorer gave`, async () => {
      const { code, output } = await startIn(runtime, [], {
        program: "test/chaos_runs/scorer_faults_program.ts",
      })
        .finished;
      assert.equal(code, 0, output);
      const { met, elsewhere }: { met: Met[]; elsewhere: number } = JSON.parse(
        output.trim().split("\n").at(-1)!,
      );
      assert.deepEqual(met.map(({ name }) => name), faults.map(({ name }) => name));
      assert.equal(elsewhere, 0, "nothing follows a redirect");
      let invented = 0;
      met.forEach(({ name, once, always }, i) => {
        const { ending } = faults[i];
        for (const { scores, second } of [once, always]) {
          for (const given of [scores, second]) {
            if (given !== null && JSON.stringify(given) !== JSON.stringify(TRUTH)) invented++;
          }
        }
        const told = `${name}: ${JSON.stringify({ once, always })}`;
        const refused = ending === "refused";
        if (ending === "fails") return assert.notEqual(always.ended, "scores", told);
        assert.equal(once.ended, refused ? "ScorerContractError" : "scores", told);
        assert.equal(
          always.ended,
          refused ? "ScorerContractError" : ending === "passes" ? "ScorerUnavailableError" : "scores",
          told,
        );
        if (refused) assert.deepEqual([once.posts, always.posts], [1, 1], `asked again: ${told}`);
        if (ending === "passes") assert.ok(once.posts >= 2 && always.posts >= 2, `not asked again: ${told}`);
      });
      assert.equal(invented, 0);
      tellRow(
        `${runtime}: scorer faults at the client, each once and without end`,
        `${faults.length} faults: 0 invented scores, 0 requests to another host`,
      );
    });
  }
});
