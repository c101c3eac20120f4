import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
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

test("a text that only looks templated is the user's own, and is quoted whole", () => {
  // Prefix and suffix share the space between them, so that both are there and no user's text.
  const overlapping = "BEGINNING OF CONVERSATION: USER: ASSISTANT:";
  const openEnd = `${PROMPT_PREFIX}and so on, without an answer`;
  const openStart = `a long text of the user's own that ends with the words${PROMPT_SUFFIX}`;
  for (const user of [overlapping, openEnd, openStart]) {
    assert.equal(formatPrompt(user), PROMPT_PREFIX + user + PROMPT_SUFFIX);
    assert.equal(userText(user), user);
  }
});

test("trimAtStopString() cuts at the very beginning, ignores the order of the list, and takes the first of two there", () => {
  assert.deepEqual(trimAtStopString("USER: more", ["USER:"]), { text: "", stopString: "USER:" });
  assert.deepEqual(trimAtStopString("a USER: END", ["USER:", "END"]), { text: "a ", stopString: "USER:" });
  assert.deepEqual(trimAtStopString("a USER: b", ["USER", "USER:"]), { text: "a ", stopString: "USER" });
  assert.deepEqual(trimAtStopString("a USER: b", ["USER:", "USER"]), { text: "a ", stopString: "USER:" });
});

test("a made-up turn begins after anything but a letter, a digit or an underscore, in any script", () => {
  for (const before of ["\n", ".", "(", "\u201c", "ASSISTANT:"]) {
    assert.ok(hasHallucinatedTurn(`${before}USER:`));
  }
  for (const before of ["\u00e9", "\u042f", "7", "\u0663", "_"]) {
    assert.ok(!hasHallucinatedTurn(`${before}USER:`), before);
  }
});
