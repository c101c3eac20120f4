/** The end tokens of a policy against what its chat template writes behind an answer. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { endsText, openTurnNotice } from "../../src/assembly/ends.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { llama3Config, llama3Json, writeTokenizer } from "./tiny_tokenizer.ts";

const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";

/** What is said of a ChatML tokenizer whose completions end at these ids. */
async function noticeOf(
  ends: (eos: number, close: number) => number[],
  template = CHATML,
  chat_template: string | null = null,
): Promise<string | null> {
  let notice: string | null = null;
  await withScratchFolder(async (dir) => {
    const json = llama3Json();
    const [first] = json.added_tokens;
    const next = json.added_tokens.length + json.added_tokens[0].id;
    ["<|im_start|>", "<|im_end|>"].forEach((content, i) =>
      json.added_tokens.push({ ...first, id: next + i, content })
    );
    await writeTokenizer(dir, json, { ...llama3Config, chat_template: template });
    await writeFile(join(dir, "other.jinja"), "{{ messages[-1].content }}<|eot_id|>");
    const tokenizer = await loadTokenizer(dir);
    const list = ends(tokenizer.eosId, next + 1).map((id) => ({ id, token: tokenizer.decode([id]) }));
    const setting = chat_template?.replace("DIR", dir) ?? null;
    notice = await openTurnNotice(tokenizer, list, { chat_template: setting, chat_template_kwargs: null });
  });
  return notice;
}

describe("a chat template that closes answers with a token", () => {
  it("at which completions do not end is said, with the setting that ends them there", async () => {
    const notice = await noticeOf((eos) => [eos]);
    assert.match(
      notice!,
      /closes an answer with "<\|im_end\|>" \(\d+\), but completions end at \d+ "<\|eot_id\|>"/,
    );
    const [, ids] = /eos_token_ids: \[(\d+, \d+)\]/.exec(notice!)!;
    let expected = "";
    await noticeOf((eos, close) => (expected = `${eos}, ${close}`, [eos]));
    assert.equal(ids, expected);
  });

  it("at which they end is none to speak of, nor is one that closes them with none, or that is not used", async () => {
    assert.equal(await noticeOf((eos, close) => [eos, close]), null);
    assert.equal(await noticeOf((eos) => [eos], "{{ messages[0].content }}"), null);
    assert.equal(await noticeOf((eos) => [eos], "{{ messages[-1].content + eos_token }}"), null);
    assert.equal(await noticeOf((eos) => [eos], "{{ messages[-1].content }}\nNext: <|im_end|>"), null);
    assert.equal(await noticeOf((eos) => [eos], "{{ raise_exception('no') }}"), null);
    assert.equal(await noticeOf((eos) => [eos], CHATML, "beaver"), null);
    assert.equal(await noticeOf((_, close) => [close], CHATML, "none"), null);
  });

  it("is looked for in the file that chat_template names", async () => {
    assert.equal(await noticeOf((eos) => [eos], CHATML, "file:DIR/other.jinja"), null);
    assert.match((await noticeOf((_, close) => [close], CHATML, "file:DIR/other.jinja"))!, /<\|eot_id\|>/);
  });
});

it("end tokens are shown with their ids", () => {
  assert.equal(endsText([{ id: 2, token: "</s>" }, { id: 7, token: "\n" }]), String.raw`2 "</s>", 7 "\n"`);
});
