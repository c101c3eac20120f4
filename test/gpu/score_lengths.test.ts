/** How much of a conversation the score models of a run read. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { conversationIds, loadScorers } from "../../src/cli/models.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { loadTokenizer } from "../../src/io/tokenizer.ts";
import { ROOT } from "../unit/source_files.ts";

const [REWARD, COST] = ["reward", "cost"].map((name) => join(ROOT, "models/quickstart", name));
/** max_position_embeddings of the quickstart's models. */
const POSITIONS = 256;

describe("loadScorers()", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("reads no further than a model has positions, whatever max_length says", async () => {
    const tokenizer = await loadTokenizer(REWARD);
    const tokens = (text: string) => conversationIds(tokenizer, text, 10_000).length;
    let long = "USER: why? ASSISTANT:";
    while (tokens(long) < POSITIONS + 8) long += " and so it goes on";
    const { scoreTexts, dispose } = await loadScorers(REWARD, COST, 10_000);
    const { rewards, costs } = await scoreTexts([long, `${long} until the end.`]);
    assert.deepEqual([rewards[0], costs[0]], [rewards[1], costs[1]]);
    dispose();
  });

  it("refuses a cost model in place of a reward model", async () => {
    await assert.rejects(loadScorers(COST, COST, 512), {
      name: "TypeError",
      message: /score_type "cost", need "reward"; are reward_model and cost_model swapped\?/,
    });
  });
});
