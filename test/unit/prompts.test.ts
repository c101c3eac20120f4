import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { readPrompts } from "../../src/io/prompts/prompts.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const options = { promptKey: "prompt" };

/** readPrompts() of a file with this content. */
async function promptsIn(content: string | Uint8Array, maxSamples?: number) {
  let rows: Awaited<ReturnType<typeof readPrompts>> = [];
  await withScratchFolder(async (dir) => {
    await writeFile(join(dir, "p.jsonl"), content);
    rows = await readPrompts(join(dir, "p.jsonl"), { ...options, maxSamples });
  });
  return rows;
}

test("a byte order mark, CRLF, blank lines and a missing last newline are tolerated; lines keep their numbers", async () => {
  const rows = await promptsIn('\uFEFF{"prompt":"a"}\r\n\r\n{"prompt":" b\\n","other":1}');
  assert.deepEqual(rows.map(({ prompt, place }) => [prompt, place.split(", ")[1]]), [["a", "line 1"], [
    " b\n",
    "line 3",
  ]]);
});

test("what a row holds beside its prompt rides along", async () => {
  const rows = await promptsIn('{"id":7,"prompt":"a","labels":["x"]}\n{"prompt":"b"}');
  assert.deepEqual(rows.map(({ columns }) => columns), [{ id: 7, labels: ["x"] }, {}]);
});

test("max_samples keeps the first rows and does not look at the rest", async () => {
  assert.deepEqual((await promptsIn('{"prompt":"a"}\n{"prompt":"b"}\noops\n', 2)).map((row) => row.prompt), [
    "a",
    "b",
  ]);
  for (const wrong of [0, -1, 1.5, NaN]) await assert.rejects(promptsIn("", wrong), /max_samples must be/);
});

const BAD: [string, string | Uint8Array, RegExp][] = [
  [
    "a broken line",
    '{"prompt":"a"}\n{"prompt":\n',
    /p\.jsonl', line 2: required one JSON object, but .*JSON/,
  ],
  ["a row without the key", '{"text":"a","id":1}', /line 1: .*keys present: "text", "id"; set prompt_key/],
  ["a row without keys", "{}", /keys present: none/],
  ["a prompt that is no string", '{"prompt":7}', /line 1: .*got 7; correct or delete the row/],
  [
    "a message that is none",
    '{"prompt":["a"]}',
    /line 1: .*messages .*got "a" as message 1; correct or delete/,
  ],
  [
    "a message without text",
    '{"prompt":[{"role":"user","content":null}]}',
    /got \{"role":"user","content":null\}/,
  ],
  ["no message", '{"prompt":[]}', /line 1: required at least one message under "prompt"/],
  [
    "an answer for its last message",
    '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}',
    /line 1: required messages under "messages" that end with .*the user, got \{"role":"assistant"/,
  ],
  [
    "a blank last message",
    '{"prompt":[{"role":"user","content":" "}]}',
    /end with a non-blank one of the user/,
  ],
  [
    "a Git LFS pointer",
    "version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
    /fetch it with "git lfs pull"/,
  ],
  ["one row over several lines", '{\n  "prompt": "a"\n}', /line 1: .*write each row in a line of its own/],
  ["an array cut off", '[{"prompt":"a"},\n{"pro', /line 2: the file ends before the array's "\]"/],
  ["an array and more", '[{"prompt":"a"}]\n{}', /line 2: required nothing behind the array's "\]"/],
  ["a hole in an array", '[{"prompt":"a"},,{"prompt":"b"}]', /line 1: required a row before the comma/],
  ["a null prompt", '{"prompt":null}', /got null/],
  ["a blank prompt", '{"prompt":" \\t"}', /non-blank/],
  ["half a surrogate pair", '{"prompt":"\\ud83d"}', /well-formed/],
  ["a row that is no object", '"text"', /required a JSON object, got "text"/],
  ["an array row", '{"prompt":"a"}\n[1]', /line 2: required a JSON object, got \[1\]/],
  ["an array of what are no rows", "[1]", /line 1: required a JSON object, got 1/],
  ["invalid UTF-8", Uint8Array.of(0x7b, 0x7d, 0x0a, 0x22, 0xc3, 0x28, 0x22), /keys present: none/],
  ["invalid UTF-8 first", Uint8Array.of(0x0a, 0x22, 0xc3, 0x28, 0x22), /line 2: required UTF-8/],
  ["no bytes", "", /required at least one JSON row, got no row/],
  ["only blank lines", "\n \r\n", /got no row/],
];

for (const [what, content, message] of BAD) {
  test(`a file with ${what} is refused with a clear error`, () =>
    assert.rejects(promptsIn(content), message));
}

test("a missing file is named", () =>
  assert.rejects(
    readPrompts("/nowhere/p.jsonl", options),
    /'\/nowhere\/p\.jsonl'.*does not exist \(ENOENT\)/,
  ));

test("every row of a valid file is read, unchanged and in order", async () => {
  const prompt = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text.trim() !== "");
  await fc.assert(
    fc.asyncProperty(fc.array(prompt, { minLength: 1 }), async (prompts) => {
      const rows = await promptsIn(prompts.map((text) => JSON.stringify({ prompt: text })).join("\n"));
      assert.deepEqual(rows.map((row) => row.prompt), prompts);
    }),
    { numRuns: 20 },
  );
});

test("a byte order mark may begin any line, as in files joined together, and is text anywhere else", async () => {
  const joined = await promptsIn('\uFEFF{"prompt":"a"}\n\uFEFF{"prompt":"\uFEFFb"}');
  assert.deepEqual(joined.map(({ prompt }) => prompt), ["a", "\uFEFFb"]);
  await assert.rejects(
    promptsIn('{"prompt":"a"}\n \uFEFF{"prompt":"b"}'),
    /line 2: required one JSON object/,
  );
  await assert.rejects(promptsIn(Uint8Array.of(0xef, 0xbb, 0x7b, 0x7d)), /line 1: required UTF-8/);
});

test("one row is enough, and max_samples above the rows takes them all", async () => {
  assert.deepEqual(
    (await promptsIn('{"prompt":"a"}', 1)).map(({ prompt, columns }) => ({ prompt, columns })),
    [{ prompt: "a", columns: {} }],
  );
  assert.equal((await promptsIn('{"prompt":"a"}\n{"prompt":"b"}', 3)).length, 2);
});

test("an inherited name is no key of a row", async () => {
  await withScratchFolder(async (dir) => {
    await writeFile(join(dir, "p.jsonl"), '{"prompt":"a"}');
    for (const promptKey of ["toString", "__proto__"]) {
      await assert.rejects(
        readPrompts(join(dir, "p.jsonl"), { promptKey }),
        /keys present: "prompt"; set prompt_key/,
      );
    }
  });
});

test("what is shown of a wrong row is short: twenty keys, sixty characters", async () => {
  const keys = Array.from({ length: 21 }, (_, i) => `k${i}`);
  const row = JSON.stringify(Object.fromEntries(keys.map((key) => [key, 1])));
  await assert.rejects(promptsIn(row), /keys present: "k0", .*"k19"; set/);
  const text = (length: number) => JSON.stringify({ prompt: { a: "x".repeat(length) } });
  await assert.rejects(promptsIn(text(52)), /got \{"a":"x{52}"\}; correct/);
  await assert.rejects(promptsIn(text(53)), /got \{"a":"x{53}"\.\.\.; correct/);
});
