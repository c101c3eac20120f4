import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  fitPrompt,
  formatConversation,
  formatPrompt,
  hasHallucinatedTurn,
  PROMPT_PREFIX,
  PROMPT_SUFFIX,
  trimAtStopString,
  userText,
} from "../../src/rl/conversation.ts";

test("formatPrompt() writes the template without a space after the last colon", () => {
  assert.equal(formatPrompt("Hi there"), "BEGINNING OF CONVERSATION: USER: Hi there ASSISTANT:");
  assert.equal(formatConversation("Hi", "Hello"), "BEGINNING OF CONVERSATION: USER: Hi ASSISTANT:Hello");
});

test("formatPrompt() is idempotent, and userText() undoes it, for any text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (user) => {
    const prompt = formatPrompt(user);
    assert.equal(formatPrompt(prompt), prompt);
    if (prompt !== user) assert.equal(userText(prompt), user);
  }));
});

test('a user who writes "USER:" or "ASSISTANT:" is quoted whole, never split', () => {
  for (
    const user of ["what does ASSISTANT: mean?", "USER: hi ASSISTANT: yo", "say ASSISTANT:", " ASSISTANT:"]
  ) {
    assert.equal(formatConversation(user, "ok"), `${PROMPT_PREFIX}${user}${PROMPT_SUFFIX}ok`);
  }
});

const countWords = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
const TEMPLATE_WORDS = 5; // BEGINNING OF CONVERSATION: USER: ASSISTANT:

test("fitPrompt() cuts the end of the user's text and keeps the template whole", () => {
  assert.deepEqual(fitPrompt("a b c", TEMPLATE_WORDS + 3, countWords), {
    prompt: formatPrompt("a b c"),
    truncated: false,
  });
  const { prompt, truncated } = fitPrompt("a b c", TEMPLATE_WORDS + 2, countWords);
  assert.ok(truncated);
  assert.equal(userText(prompt).trim(), "a b");
  assert.equal(fitPrompt(formatPrompt("a b c"), TEMPLATE_WORDS + 2, countWords).prompt, prompt);
});

test("fitPrompt() never exceeds the limit nor cuts through a character", () => {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  const template = bytes(PROMPT_PREFIX + PROMPT_SUFFIX);
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (user, room) => {
    const { prompt } = fitPrompt(user, template + room, bytes);
    assert.ok(bytes(prompt) <= template + room);
    assert.ok(prompt.startsWith(PROMPT_PREFIX) && prompt.endsWith(PROMPT_SUFFIX));
    assert.ok(user.startsWith(userText(prompt)));
    assert.ok(prompt.isWellFormed());
  }));
});

test("fitPrompt() says so when the template alone is too long", () => {
  assert.throws(() => fitPrompt("a", 4, countWords), /template alone is 5 tokens, got max_prompt_length = 4/);
});

test("trimAtStopString() cuts at the earliest stop string", () => {
  assert.deepEqual(trimAtStopString("Sure. USER: more END", ["END", "USER:"]), {
    text: "Sure. ",
    stopString: "USER:",
  });
  assert.deepEqual(trimAtStopString("Sure.", ["USER:", ""]), { text: "Sure.", stopString: null });
});

test("hasHallucinatedTurn() sees a made-up user turn and no mere mention of users", () => {
  assert.ok(hasHallucinatedTurn("You are welcome. USER: Thanks! ASSISTANT: Any time"));
  assert.ok(hasHallucinatedTurn("USER:"));
  assert.ok(!hasHallucinatedTurn("Ask the user: they know. SUPERUSER: root. USER accounts."));
});
