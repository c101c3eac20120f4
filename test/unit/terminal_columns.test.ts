/** Text measured and wrapped by the columns that a terminal gives it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  fittingColumns,
  labelled,
  padColumns,
  widthOf,
  wrapLines,
  wrapText,
} from "../../src/cli/terminal/columns.ts";

describe("columns", () => {
  it("are two for a Chinese character or an emoji, however it is put together", () => {
    const texts = ["abc", "日本語", "🙂", "👨‍👩‍👧", "e\u0301", "한글", "naïve"];
    assert.deepEqual(texts.map(widthOf), [3, 6, 2, 2, 1, 4, 5]);
    assert.equal(padColumns("日本", 6), "日本  ");
  });

  it("wrap at spaces, further lines under the first", () => {
    assert.equal(wrapText("one two three", 10, 3), "one two\n   three");
    assert.equal(wrapText("日本 日本 日本", 11, 2), "日本 日本\n  日本");
    assert.equal(wrapText(["one,", "two three,", "four"], 14, 0), "one,\ntwo three,\nfour");
    assert.equal(wrapText(["one,", "two three,", "four"], 16, 0), "one, two three,\nfour");
    assert.equal(wrapText(["one,", "two three four,"], 10, 0), "one, two\nthree\nfour,");
    assert.equal(wrapText("a longer-than-the-terminal b", 10, 2), "a\n  longer-than-the-terminal\n  b");
  });

  it("of several lines wrap each under its own beginning", () => {
    const text = "one two three\n  four five six\n";
    assert.equal(wrapLines(text, 10), "one two\nthree\n  four\n  five six\n");
    assert.equal(wrapLines(text), text);
  });

  it("stand in a table beside their labels", () => {
    assert.equal(labelled([["run", "out/a"], ["日本語", "x y"]]), "run     out/a\n日本語  x y");
    assert.equal(labelled([["a", "one two"], ["", "three"]], 8), "a  one\n   two\n   three");
  });

  it("of a line are left out from the last in rank on, and keep their order", () => {
    const columns = [{ text: "b", rank: 1 }, { text: "dropped", rank: 2 }, { text: "a", rank: 0 }, {
      text: undefined,
      rank: 3,
    }];
    assert.equal(fittingColumns(columns, Infinity), "b  dropped  a");
    assert.equal(fittingColumns(columns, 12), "b  a");
    assert.equal(fittingColumns(columns, 1), "a");
    assert.equal(fittingColumns(columns, 0), "");
  });
});
