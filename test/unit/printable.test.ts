import assert from "node:assert/strict";
import { test } from "node:test";
import { escapeControls } from "../../src/config/controls.ts";
import { escapeHtml, escapeMarkdownCell, truncateText } from "../../src/tracking/printable.ts";

test("escapeControls() spells out what moves a cursor, hides or turns text, and keeps the rest", () => {
  const controls =
    "\u0000\u0008\u000b\u000d\u001b\u001f\u007f\u009f\u061c\u200e\u200f\u2028\u202e\u2066\u2069";
  const words = Array.from(controls, (control) => `\\u{${control.codePointAt(0)!.toString(16)}}`).join("");
  assert.equal(escapeControls(controls), words);
  assert.equal(escapeControls("\u001b[2J"), "\\u{1b}[2J");
  const kept = "a\tb\nc \u007e\u00a0\u00e9\u200d\u2027\u202f\u2065\u206a\u{1f642}";
  assert.equal(escapeControls(kept), kept);
  assert.equal(escapeControls("half \ud800"), "half \ufffd");
});

test("truncateText() keeps whole characters and says how many are left out", () => {
  assert.equal(truncateText("abcd", 4), "abcd");
  assert.equal(truncateText("abcde", 4), "abcd… (+1 characters)");
  assert.equal(truncateText("\u{1f642}\u{1f642}\u{1f642}", 2), "\u{1f642}\u{1f642}… (+1 characters)");
  assert.equal(truncateText("\u{1f642}\u{1f642}", 2), "\u{1f642}\u{1f642}");
  assert.equal(truncateText("ab", 0), "… (+2 characters)");
});

test("escapeHtml() makes content and attributes of any text", () => {
  assert.equal(
    escapeHtml(`<a href="x" title='y'>&amp;\u001b</a>`),
    "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;\\u{1b}&lt;/a&gt;",
  );
});

test("escapeMarkdownCell() keeps a text in its cell: no mark-up, no HTML, no new row", () => {
  assert.equal(
    escapeMarkdownCell("a | b\n**c** _d_ `e` [f](g) <b> # ~x~ + - ! {h} \\"),
    "a \\| b<br>\\*\\*c\\*\\* \\_d\\_ \\`e\\` \\[f\\]\\(g\\) &lt;b&gt; \\# \\~x\\~ \\+ \\- \\! \\{h\\} \\\\",
  );
});
