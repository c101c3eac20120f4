/**
 * Stop strings, from the policy that writes one to what is scored, trained on and logged. The policy answers "B" and
 * ends, or "A USER:" and goes on with x after x; the last token before the x is "R:".
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closeGpu } from "../../src/gpu/device.ts";
import { assertMore } from "./config_effect.ts";
import {
  type Chain,
  chainValues,
  dimensionOf,
  idOf,
  TINY,
  VOCABULARY,
  writePolicy,
} from "./config_models.ts";
import { evalRowsOf, momentsOf, rowsOf, tableOf } from "./config_read.ts";
import {
  closeStage,
  openStage,
  type Ran,
  runCommand,
  scratch,
  type Settings,
  type Stage,
} from "./config_run.ts";

const CHAIN: Chain = {
  ":": { A: 3.05, B: 3 }, // the prompt's last token; greedily A comes
  A: { " ": 3 },
  " ": { U: 3 },
  U: { S: 3 },
  S: { E: 3 },
  E: { "R:": 3 },
  "R:": { x: 3 },
  x: { x: 3 },
  B: { "</s>": 3 },
};

const TURN = ["A", " ", "U", "S", "E", "R:"];

const SETTINGS: Settings = {
  model_name: scratch("chain"),
  max_samples: 1, // one prompt: A and B have one score each
  max_steps: 1,
  num_generations: 8,
  max_completion_length: 12,
  stop_strings: ["USER:"],
};

const completionsOf = (ran: Ran) => tableOf(ran, "train", 1).map(({ completion }) => completion);

/** How many of the eight began with A. */
const turns = (ran: Ran) => completionsOf(ran).filter((text) => !text.startsWith("B")).length;

/** The first gradient, times a tenth, of the head's weight for `next` after `piece`: 0 where that was not trained on. */
function gradient(ran: Ran, next: string, piece: string): number {
  const { values } = momentsOf(ran, 1).get("lm_head.weight.exp_avg")!;
  return values[idOf(next) * TINY.hidden + dimensionOf(CHAIN, piece)];
}

describe("a stop string", () => {
  let stage: Stage;
  let stopped: Ran, unstopped: Ran;
  const train = async (settings: Settings): Promise<Ran> => {
    const ran = await runCommand(stage, "train", { ...SETTINGS, ...settings });
    if (ran.error) throw ran.error;
    return ran;
  };

  before(async () => {
    stage = await openStage();
    await writePolicy(scratch("chain"), chainValues(CHAIN));
    stopped = await train({});
    unstopped = await train({ stop_strings: [] });
  });
  after(async () => {
    await closeStage(stage);
    await closeGpu();
  });

  it("is not scored, nor is what follows: neither in requests nor in tables", () => {
    assert.deepEqual([...new Set(completionsOf(stopped))].sort(), ["A ", "B"]);
    assert.deepEqual(stopped.batches.flatMap(({ responses }) => responses), completionsOf(stopped));
    const whole = completionsOf(stopped).map((text) => text === "B" ? "B" : "A USER:xxxxxx");
    assert.deepEqual(completionsOf(unstopped), whole, "without it all that the policy wrote is scored");
  });

  it("is USER: where none is set and prompts are Beaver's; in other layouts that is a word like any other", async () => {
    assert.deepEqual(completionsOf(await train({ stop_strings: null })), completionsOf(stopped));
    writeFileSync(scratch("colon.jinja"), "{{ messages[0].content }} ASSISTANT:");
    const chat = { chat_template: `file:${scratch("colon.jinja")}` };
    const free = await train({ ...chat, stop_strings: null });
    assert.deepEqual([...new Set(completionsOf(free))].sort(), ["A USER:xxxxxx", "B"]);
    assert.equal(rowsOf(free)[0]["completions/hallucinated_turn_ratio"], 0);
    const cut = await train({ ...chat, stop_strings: ["USER:"] });
    assert.deepEqual([...new Set(completionsOf(cut))].sort(), ["A ", "B"], "a list that is given counts");
  });

  it("ends a completion with the token that completes it, which counts as terminated and as a made-up turn", () => {
    const count = turns(stopped);
    assert.ok(count > 0 && count < 8, `${count}`);
    const mean = (count * TURN.length + (8 - count) * 2) / 8;
    const row = rowsOf(stopped)[0];
    assert.equal(row["completions/mean_length"], mean);
    assert.equal(row["completions/max_length"], TURN.length);
    assert.equal(row["completions/clipped_ratio"], 0);
    assert.equal(row["completions/mean_terminated_length"], mean);
    assert.equal(row["completions/hallucinated_turn_ratio"], count / 8);
    assert.equal(row.num_tokens, 8 * (47 + mean), "of the prompt's 47 tokens and the completions'");
  });

  it("where there is none the same completions are cut at max_completion_length, and say so", () => {
    const row = rowsOf(unstopped)[0], count = turns(unstopped);
    assert.equal(count, turns(stopped));
    assert.equal(row["completions/max_length"], 12);
    assert.equal(row["completions/clipped_ratio"], count / 8);
    assert.equal(row["completions/mean_terminated_length"], 2);
    assert.equal(row["completions/hallucinated_turn_ratio"], count / 8);
  });

  it("is trained on to the token that completes it, and nothing behind it is", () => {
    const table = tableOf(stopped, "train", 1);
    const score = (text: string) => table.find(({ completion }) => completion === text)!.combined;
    const direction = -Math.sign(score("A ") - score("B")); // of the loss with the logits of the better one
    TURN.forEach((piece, i) => {
      const before = i === 0 ? ":" : TURN[i - 1];
      assert.equal(Math.sign(gradient(stopped, piece, before)), direction, `"${piece}" after "${before}"`);
    });
    assert.equal(Math.sign(gradient(stopped, "</s>", "B")), -direction);
    const behind = VOCABULARY.filter((_, id) => gradient(stopped, VOCABULARY[id], "R:") !== 0);
    assert.deepEqual(behind, []);
    assertMore(Math.abs(gradient(unstopped, "x", "R:")), 0);
  });

  it("leaves its completion in the loss where those that were cut are masked", async () => {
    const masked = await train({ mask_truncated_completions: true });
    for (const piece of ["A", "R:"]) {
      const before = piece === "A" ? ":" : "E";
      assert.equal(gradient(masked, piece, before), gradient(stopped, piece, before));
    }
    const cut = await train({ mask_truncated_completions: true, stop_strings: [] });
    assert.equal(gradient(cut, "R:", "E"), 0);
  });

  it("is cut at the same token however often completions are looked at", async () => {
    for (const readback_every of [1, 3]) {
      const looked = await train({ readback_every });
      assert.deepEqual(rowsOf(looked), rowsOf(stopped), `every ${readback_every} tokens`);
    }
  });

  it("that is completed by the last token there may be ends its completion, one token later it does not", async () => {
    const last = rowsOf(await train({ max_completion_length: 6 }))[0];
    assert.equal(last["completions/clipped_ratio"], 0);
    assert.equal(last["completions/hallucinated_turn_ratio"], turns(stopped) / 8);
    const cut = await train({ max_completion_length: 5 });
    assert.equal(rowsOf(cut)[0]["completions/clipped_ratio"], turns(stopped) / 8);
    assert.equal(rowsOf(cut)[0]["completions/hallucinated_turn_ratio"], 0);
    assert.deepEqual([...new Set(completionsOf(cut))].sort(), ["A USE", "B"]);
  });

  it("may end within a token, stand beside others, or be the first token", async () => {
    const within = await train({ stop_strings: ["ER"] });
    assert.deepEqual([...new Set(completionsOf(within))].sort(), ["A US", "B"]);
    assert.equal(rowsOf(within)[0]["completions/max_length"], 6, "the token is kept whole");
    const earliest = await train({ stop_strings: ["USER:", "S"] });
    assert.deepEqual([...new Set(completionsOf(earliest))].sort(), ["A U", "B"]);
    assert.equal(rowsOf(earliest)[0]["completions/max_length"], 4);
    const first = await train({ stop_strings: ["A", "B"] });
    assert.deepEqual([...new Set(completionsOf(first))], [""]);
    assert.equal(rowsOf(first)[0]["completions/max_length"], 1);
    assert.equal(rowsOf(first)[0]["completions/clipped_ratio"], 0);
  });

  it("is not scored in a training run's evaluation", async () => {
    const ran = await train({ eval_jsonl: scratch("eval.jsonl"), learning_rate: 1e-12 });
    assert.deepEqual(ran.batches.at(-1)!.responses, Array(5).fill("A "));
    assert.deepEqual(tableOf(ran, "eval", 1).map(({ completion }) => completion), Array(5).fill("A "));
    assert.equal(evalRowsOf(ran).length, 1);
  });

  it("is not scored by the eval command, also where one that is listed before it comes later", async () => {
    const settings = { ...SETTINGS, stop_strings: ["xx", "USER:"], eval_jsonl: scratch("eval.jsonl") };
    const ran = await runCommand(stage, "eval", settings);
    assert.equal(ran.code, 0, ran.error?.message);
    assert.deepEqual(ran.batches.flatMap(({ responses }) => responses), Array(5).fill("A "));
    const written = readFileSync(join(ran.dir, "eval_samples.jsonl"), "utf8").trim().split("\n");
    assert.deepEqual(written.map((line) => JSON.parse(line).completion), Array(5).fill("A "));
  });

  it("is not needed where the policy ends by itself: the end token is no part of what is scored", async () => {
    await writePolicy(scratch("ending"), chainValues({ ...CHAIN, ":": { A: 3, B: 3.05 } })); // greedily B comes
    const settings = { ...SETTINGS, model_name: scratch("ending"), eval_jsonl: scratch("eval.jsonl") };
    const ran = await runCommand(stage, "eval", settings);
    assert.equal(ran.code, 0, ran.error?.message);
    assert.deepEqual(ran.batches.flatMap(({ responses }) => responses), Array(5).fill("B"));
  });
});
