/** What a run shows while it is put together. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assemblyEvents } from "../../src/cli/terminal/assembly_events.ts";

const MEASURED = { seconds: 1.234, path: "cache/x.json", failure: undefined };

/** What `say` has written, on a terminal or in a log. */
function shown(isTTY: boolean, say: (events: ReturnType<typeof assemblyEvents>) => void): string {
  let text = "";
  say(assemblyEvents({ isTTY, write: (part) => void (text += part) }));
  return text;
}

describe("kernels that are measured", () => {
  const measure = (events: ReturnType<typeof assemblyEvents>) => {
    for (const done of [0, 1, 2]) events.onMeasuring(done, 2);
    events.onMeasured(MEASURED);
  };

  it("are a line before and after in a log", () => {
    assert.equal(
      shown(false, measure),
      "measuring this GPU's fastest kernels, once: 0 of 2\n" +
        "Measured the fastest kernels in 1.2 s; kept in cache/x.json\n",
    );
  });

  it("are one line of a terminal, which the result takes the place of", () => {
    const line = (done: number) => `\r\x1b[Kmeasuring this GPU's fastest kernels, once: ${done} of 2`;
    assert.equal(
      shown(true, measure),
      `${line(0)}${line(1)}${line(2)}\r\x1b[KMeasured the fastest kernels in 1.2 s; kept in cache/x.json\n`,
    );
  });

  it("and could not be kept say why", () => {
    const text = shown(false, ({ onMeasured }) => onMeasured({ ...MEASURED, failure: "the disk is full" }));
    assert.equal(text, "Measured the fastest kernels in 1.2 s; not kept: the disk is full\n");
  });
});

describe("bytes that come in", () => {
  const move = (doing: "downloading" | "loading", totalBytes: number) =>
    shown(false, ({ onBytes }) => {
      const { update, close } = onBytes(doing);
      for (const doneBytes of [0, totalBytes]) update({ id: "org/name", doneBytes, totalBytes });
      close();
    });

  it("are shown of every download, and of loads that take a while to read", () => {
    assert.match(move("downloading", 1e6), /^downloading org\/name {2}0\.00 of 0\.00 GB/);
    assert.match(move("loading", 1e8), /^loading org\/name {2}0\.00 of 0\.10 GB/);
    assert.equal(move("loading", 1e8 - 1), "");
  });
});
