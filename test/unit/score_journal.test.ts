/** What a scorer answered since the last checkpoint: taken once, by the very same question, and from no damaged line. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openScoreJournal, removeOtherJournals } from "../../src/io/records/score_journal.ts";
import { journalled } from "../../src/scorer/journalled.ts";
import type { Answer, ScoreOptions, Scorer } from "../../src/scorer/protocol.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const NAME = "score_journal-0.jsonl";
const answer = (change: Partial<Answer> = {}): Answer => ({
  prompt: "p",
  messages: [{ role: "user", content: "p" }],
  completion: "c",
  tokens: [5, 6],
  columns: { n: 1n, rest: null },
  promptText: "p",
  fullText: "pc",
  ...change,
});

/** A scorer whose every answer is another. */
function fickleScorer() {
  let asked = 0;
  const scorer: Scorer = {
    score: (answers) => {
      asked++;
      return Promise.resolve({
        rewards: answers.map((_, i) => asked + i / 3),
        costs: answers.map(() => -0),
        named: { "rewards/part": answers.map((_, i) => i === 0 ? NaN : asked) },
      });
    },
  };
  return { scorer, asked: () => asked };
}

const open = (dir: string, onMessage: (text: string) => void = assert.fail) =>
  openScoreJournal(dir, 0, onMessage);

test("what was answered before a kill is given to the very same question once, to the bit", () =>
  withScratchFolder(async (dir) => {
    const { scorer, asked } = fickleScorer();
    const judge = journalled(scorer, "a");
    const killed = open(dir);
    const answers = [answer(), answer({ completion: "d" })];
    const first = await judge.score(answers, { step: 3, journal: killed });
    const second = await judge.score(answers, { step: 3, journal: killed });
    assert.notDeepEqual(second, first, "a process takes nothing of its own");
    const journal = open(dir); // as after SIGKILL: nothing was closed
    assert.deepEqual(await judge.score(answers, { step: 3, journal }), first);
    assert.deepEqual(await judge.score(answers, { step: 3, journal }), second);
    assert.equal(asked(), 2);
    await judge.score(answers, { step: 3, journal });
    assert.equal(asked(), 3);
  }));

const OTHERS: [string, unknown, Answer[], ScoreOptions][] = [
  ["another judge", "b", [answer()], { step: 3 }],
  ["another step", "a", [answer()], { step: 4 }],
  ["an evaluation", "a", [answer()], {}],
  ["another prompt", "a", [answer({ prompt: "q" })], { step: 3 }],
  ["another conversation", "a", [answer({ messages: [] })], { step: 3 }],
  ["another completion", "a", [answer({ completion: "e" })], { step: 3 }],
  ["other tokens", "a", [answer({ tokens: [5] })], { step: 3 }],
  ["other columns", "a", [answer({ columns: { n: 2n } })], { step: 3 }],
  ["more answers", "a", [answer(), answer()], { step: 3 }],
];
for (const [what, judge, answers, options] of OTHERS) {
  test(`${what}: it is asked`, () =>
    withScratchFolder(async (dir) => {
      const { scorer, asked } = fickleScorer();
      await journalled(scorer, "a").score([answer()], { step: 3, journal: open(dir) });
      await journalled(scorer, judge).score(answers, { ...options, journal: open(dir) });
      assert.equal(asked(), 2);
    }));
}

test("after a checkpoint there is no journal, and none before the first answer", () =>
  withScratchFolder(async (dir) => {
    const journal = open(dir);
    assert.deepEqual(await readdir(dir), []);
    journal.put("k", { rewards: [1], costs: [2] });
    assert.deepEqual(await readdir(dir), [NAME]);
    const next = open(dir);
    next.clear();
    assert.deepEqual(await readdir(dir), []);
    assert.equal(next.take("k", 1), null);
    next.put("k", { rewards: [3], costs: [4] });
    assert.deepEqual(open(dir).take("k", 1), { rewards: [3], costs: [4] });
    next.close();
    journal.close();
  }));

test("a torn last line is cut off, a changed line passed over, and what comes behind them is read", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, NAME);
    const journal = open(dir);
    for (const [key, reward] of [["a", 1], ["b", 2]] as const) {
      journal.put(key, { rewards: [reward], costs: [0] });
    }
    await writeFile(path, (await readFile(path, "utf8")).replace('"rewards":[1]', '"rewards":[9]'));
    await appendFile(path, '0123456789abcdef {"key":"c","rewards":[1');
    const next = open(dir);
    next.put("d", { rewards: [4], costs: [0] });
    const last = open(dir);
    assert.deepEqual(["a", "b", "c", "d"].map((key) => last.take(key, 1)?.rewards), [
      undefined,
      [2],
      undefined,
      [4],
    ]);
    assert.deepEqual((await readFile(path, "utf8")).split("\n").length, 4);
  }));

test("an answer to another number of texts is asked for again", () =>
  withScratchFolder((dir) => {
    open(dir).put("k", { rewards: [1, 2], costs: [1, 2] });
    assert.equal(open(dir).take("k", 3), null);
    return Promise.resolve();
  }));

const NO_FIFO = process.platform === "win32" && "there is no mkfifo";
test("what is no plain file is never opened: training goes on without a journal, which is said once", {
  skip: leftOut("a journal that is a pipe", NO_FIFO),
}, () =>
  withScratchFolder((dir) => {
    execFileSync("mkfifo", [join(dir, NAME)]);
    const messages: string[] = [];
    const journal = open(dir, (text) => messages.push(text));
    journal.put("k", { rewards: [1], costs: [1] });
    journal.clear();
    assert.equal(messages.length, 1);
    assert.match(
      messages[0],
      /score_journal-0\.jsonl' is no plain file; remove it; training goes on.*asks the scorer/,
    );
    return Promise.resolve();
  }));

test("journals of ranks that are no more go, and nothing else", () =>
  withScratchFolder(async (dir) => {
    const names = [
      "score_journal-0.jsonl",
      "score_journal-1.jsonl",
      "score_journal-12.jsonl",
      "score_journal-x.jsonl",
    ];
    for (const name of names) await writeFile(join(dir, name), "");
    await mkdir(join(dir, "samples"));
    await removeOtherJournals(dir, 2);
    assert.deepEqual((await readdir(dir)).sort(), ["samples", names[0], names[1], names[3]]);
    await removeOtherJournals(join(dir, "none"), 2);
  }));
