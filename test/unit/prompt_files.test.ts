/** Files of prompts in every form that people have them, read in pieces. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import "../seeded_properties.ts";
import { readPrompts } from "../../src/io/prompts/prompts.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const GOLDEN = join(ROOT, "test", "golden", "parquet_rows");
type Options = Partial<Parameters<typeof readPrompts>[1]>;

/** readPrompts() of a file with this content. */
async function promptsIn(name: string, content: string | Uint8Array, options: Options = {}) {
  let rows: Awaited<ReturnType<typeof readPrompts>> = [];
  await withScratchFolder(async (dir) => {
    await writeFile(join(dir, name), content);
    rows = await readPrompts(join(dir, name), { promptKey: "prompt", ...options });
  });
  return rows;
}

const ROWS = [
  { prompt: 'with "quotes", [brackets] and \\ {braces}', label: [1, { a: "]" }] },
  { prompt: "caf\u00e9 \u{1f600}", label: null },
  { prompt: " line\nends ", label: "}" },
];
const LINES = ROWS.map((row) => JSON.stringify(row)).join("\n");
const FORMS: [string, string | Uint8Array][] = [
  ["p.jsonl", LINES],
  ["p.json", JSON.stringify(ROWS)],
  ["pretty.json", `\uFEFF${JSON.stringify(ROWS, null, 4)}\n`],
  ["p.jsonl.gz", gzipSync(LINES)],
  ["joined.jsonl.gz", Buffer.concat([gzipSync(`${LINES.slice(0, 40)}`), gzipSync(LINES.slice(40))])],
  ["p.json.gz", gzipSync(JSON.stringify(ROWS, null, 2))],
  ["no_ending", gzipSync(LINES)],
];

for (const [name, content] of FORMS) {
  test(`${name} is read the same in pieces of any size`, async () => {
    for (const pieceBytes of [1, 2, 7, 64, 4096]) {
      const rows = await promptsIn(name, content, { pieceBytes });
      assert.deepEqual(
        rows.map(({ prompt, columns }) => ({ prompt, ...columns })),
        ROWS,
        `${pieceBytes} bytes`,
      );
    }
  });
}

test("an array of any rows is read as JSON.parse reads it, wherever its pieces end", () => {
  const row = fc.record({
    prompt: fc.string({ minLength: 1 }).map((text) => `a${text}`),
    rest: fc.jsonValue(),
  });
  return fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1 }),
      fc.integer({ min: 1, max: 50 }),
      async (made, pieceBytes) => {
        const content = JSON.stringify(made, null, 1);
        const rows = await promptsIn("p.json", content, { pieceBytes });
        assert.deepEqual(rows.map(({ prompt, columns }) => ({ prompt, ...columns })), JSON.parse(content));
      },
    ),
    { numRuns: 25 },
  );
});

for (const compression of ["none", "snappy", "gzip", "brotli", "zstd"]) {
  test(`Parquet with ${compression} compression: every row and column, as JSON has them`, async () => {
    const rows = await readPrompts(join(GOLDEN, `${compression}.parquet`), { promptKey: "prompt" });
    const expected = JSON.parse(await readFile(join(GOLDEN, "rows.json"), "utf8"));
    assert.deepEqual(rows.map(({ prompt, columns }) => ({ prompt, ...columns })), expected);
    assert.match(rows[4].place, /parquet', row 5$/);
  });
}

test("messages of a Parquet column are a conversation", async () => {
  const [row] = await readPrompts(join(GOLDEN, "zstd.parquet"), { promptKey: "messages", maxSamples: 1 });
  assert.deepEqual(row.prompt, [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Why 0?" },
  ]);
});

test("broken files say what is broken", async () => {
  const parquet = await readFile(join(GOLDEN, "snappy.parquet"));
  await assert.rejects(
    promptsIn("p", parquet.subarray(0, 900)),
    /'.*p': the Parquet file's end cannot be read: /,
  );
  const broken = Uint8Array.from(parquet);
  broken.fill(0xff, 10, 200);
  await assert.rejects(promptsIn("p", broken), /rows 1 to 4 of the Parquet file cannot be read: .*download/);
  const lz4 = readPrompts(join(GOLDEN, "lz4.parquet"), { promptKey: "prompt" });
  await assert.rejects(lz4, /unsupported compression codec: LZ4_RAW; .*snappy or zstd/);
  const zipped = gzipSync(`${LINES}\n`.repeat(500));
  await assert.rejects(promptsIn("p.gz", zipped.subarray(0, -20)), /its gzip is broken \(/);
  await assert.rejects(promptsIn("p.gz", Uint8Array.of(0x1f, 0x8b, 1, 2, 3)), /its gzip is broken \(/);
  await assert.rejects(promptsIn("p", Uint8Array.of(0xff, 0xfe, 0x7b, 0)), /line 1: required UTF-8/);
});

test("several files are read as one, and max_samples stops between and within them", () =>
  withScratchFolder(async (dir) => {
    const files = ["a.jsonl", "b.json"].map((name) => join(dir, name));
    await writeFile(files[0], LINES);
    await writeFile(files[1], JSON.stringify(ROWS));
    for (const maxSamples of [2, 3, 4, 6, 9]) {
      const rows = await readPrompts(files, { promptKey: "prompt", maxSamples });
      assert.deepEqual(
        rows.map(({ prompt }) => prompt),
        [...ROWS, ...ROWS].map(({ prompt }) => prompt).slice(0, maxSamples),
      );
    }
  }));

test("a conversation stands under the key, in {messages} under it, or in the row's messages", async () => {
  const messages = [{ role: "user", content: "Why?", name: "Ann" }];
  const rows = [{ prompt: messages, id: 1 }, { prompt: { messages }, id: 2 }, { messages, id: 3 }];
  const read = await promptsIn("p.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
  assert.deepEqual(read.map(({ prompt }) => prompt), [messages, messages, messages]);
  assert.deepEqual(read.map(({ columns }) => columns), [{ id: 1 }, { id: 2 }, { id: 3 }]);
});

test("bad rows are left out and told of where that is asked for, and do not count as samples", async () => {
  const content = '{"prompt":"a"}\noops\n{"text":"b"}\n{"prompt":""}\n{"prompt":"c"}\n{"prompt":"d"}';
  const problems: string[] = [];
  const onBadRow = ({ message }: Error) => problems.push(message);
  const rows = await promptsIn("p.jsonl", content, { onBadRow, maxSamples: 2 });
  assert.deepEqual(rows.map(({ prompt }) => prompt), ["a", "c"]);
  assert.deepEqual(problems.map((text) => /line \d/.exec(text)?.[0]), ["line 2", "line 3", "line 4"]);
  await assert.rejects(promptsIn("p.jsonl", "oops", { onBadRow }), /got 1 rows, of which none can be used/);
  await assert.rejects(promptsIn("p.jsonl", content), /line 2: required one JSON object/);
});
