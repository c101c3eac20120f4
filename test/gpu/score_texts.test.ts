/** What the score models of a run read of a conversation. */
import assert from "node:assert/strict";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadScorers } from "../../src/assembly/score_models.ts";
import { conversationIds } from "../../src/assembly/score_texts.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { formatConversation } from "../../src/rl/conversation.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { ROOT } from "../unit/source_files.ts";

const [REWARD, COST] = ["reward", "cost"].map((name) => join(ROOT, "models/quickstart", name));

const onlyCost = (model: string) => [{ name: null, model }];
/** max_position_embeddings of the quickstart's models. */
const POSITIONS = 256;

/** Has two tokens of a tokenizer stand for each other. */
async function exchangeTokens(path: string, [a, b]: number[]): Promise<void> {
  assert.notEqual(a, b);
  const json = JSON.parse(await readFile(path, "utf8"));
  const vocab = json.model.vocab as Record<string, number>;
  for (const [token, id] of Object.entries(vocab)) {
    if (id === a || id === b) vocab[token] = a + b - id;
  }
  await writeFile(path, JSON.stringify(json));
}

describe("loadScorers()", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("reads no further than a model has positions, whatever max_length says", async () => {
    const tokenizer = await loadTokenizer(REWARD);
    const tokens = (text: string) => conversationIds(tokenizer, text, 10_000).ids.length;
    let long = "USER: why? ASSISTANT:";
    while (tokens(long) < POSITIONS + 8) long += " and so it goes on";
    const { scoreTexts, dispose } = await loadScorers({
      reward: REWARD,
      costs: onlyCost(COST),
      maxLength: 10_000,
    });
    const { rewards, costs } = await scoreTexts([long, `${long} until the end.`]);
    assert.deepEqual([rewards[0], costs[0]], [rewards[1], costs[1]]);
    dispose();
  });

  it("gives each model the text by its own tokenizer", () =>
    withScratchFolder(async (folder) => {
      const text = formatConversation("How do I fry an egg?", " Stay near the stove.");
      await cp(COST, folder, { recursive: true });
      await exchangeTokens(
        join(folder, "tokenizer.json"),
        (await loadTokenizer(COST)).encode(text).slice(3, 5),
      );
      const scoresWith = async (cost: string) => {
        const { scoreTexts, dispose } = await loadScorers({
          reward: REWARD,
          costs: onlyCost(cost),
          maxLength: 512,
        });
        const scores = await scoreTexts([text]);
        dispose();
        return scores;
      };
      const [own, other] = [await scoresWith(COST), await scoresWith(folder)];
      assert.deepEqual(other.rewards, own.rewards);
      assert.notDeepEqual(other.costs, own.costs);
    }));

  it("refuses a cost model in place of a reward model", async () => {
    await assert.rejects(loadScorers({ reward: COST, costs: onlyCost(COST), maxLength: 512 }), {
      name: "TypeError",
      message: /score_type "cost", need "reward"; are reward_model and cost_model swapped\?/,
    });
  });
});
