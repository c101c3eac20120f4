/** The end of a download or a load, as a log and a terminal show it. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { bytesProgress } from "../../src/cli/terminal/bytes_progress.ts";

/** What is shown of a move of 4 GB, of which so many GB are done at these milliseconds. */
function shown(isTTY: boolean, looks: [atMs: number, doneGb: number][]): string {
  let [text, nowMs] = ["", 0];
  const output = { isTTY, write: (part: string) => void (text += part) };
  const { update, close } = bytesProgress(output, () => nowMs, "loading");
  for (const [atMs, doneGb] of looks) {
    nowMs = atMs;
    update({ id: "a model", doneBytes: doneGb * 1e9, totalBytes: 4e9 });
  }
  close();
  return text;
}

it("the end is shown, however soon after the line before", () => {
  assert.match(
    shown(false, [[0, 0], [1000, 4]]),
    /0\.00 of 4\.00 GB\nloading a model {2}4\.00 of 4\.00 GB .*\n$/,
  );
  assert.match(shown(true, [[0, 0], [1, 4]]), /█{24} loading a model {2}4\.00 of 4\.00 GB .*\n$/);
});

it("the first line has no rate, since nothing was waited for yet", () => {
  assert.equal(shown(false, [[0, 0]]), "loading a model  0.00 of 4.00 GB\n");
});

it("a terminal is redrawn four times a second at most", () => {
  const looks = Array.from({ length: 11 }, (_, index): [number, number] => [index * 100, index / 10]);
  assert.equal(shown(true, looks).split("\r").length - 1, 4);
});

it("a bar that is finished is not followed by an empty line", () => {
  assert.ok(!shown(true, [[0, 0], [1000, 4]]).endsWith("\n\n"));
});
