/** The chat template in a run's folder, by which other programs make the prompts that were trained with. */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { carriedFiles, copyModelFiles } from "../../src/assembly/run_folder.ts";
import { savedTemplate } from "../../src/assembly/saved_template.ts";
import { compileChatTemplate } from "../../src/io/tokenizer/chat_template.ts";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { beaverFormat, plainFormat } from "../../src/io/prompts/prompt_format.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

/** Puts a space before a text's first word, but not behind a token: a template cannot follow every text's begin. */
const FIRST_WORD = "llama2_json";
const TOKENIZERS = [
  "bytes_json",
  "llama2_json",
  "llama2_legacy",
  "llama2_prepend",
  "llama3_json",
  "llama2_model",
];
const USERS = ["Why?", "two\n\nlines  and spaces ", " a space in front", "naïve 日本 🙂", "USER: ASSISTANT:"];
const OWN = "{{ messages[0]['content'] }} of the base model";

/** A tokenizer with a chat template that is not trained with. */
async function chatTokenizer(name: string, own: string | null = OWN): Promise<Tokenizer> {
  const tokenizer = await loadTokenizer(join(ROOT, "test/golden/text", name));
  const readChatTemplate = () => Promise.resolve(own === null ? null : { text: own, source: "it" });
  return { ...tokenizer, readChatTemplate };
}

describe("a run that is not trained with its tokenizer's chat template", () => {
  const layouts = { beaver: beaverFormat, none: plainFormat };
  for (const layout of ["beaver", "none"] as const) {
    for (const name of TOKENIZERS) {
      if (layout === "none" && name === FIRST_WORD) continue;
      it(`${layout}, ${name}: saves one that makes the prompts of training, and refuses what it was not trained on`, async () => {
        const tokenizer = await chatTokenizer(name);
        const text = (await savedTemplate(tokenizer, { chat_template: layout }))!;
        const template = compileChatTemplate({ text, source: "the run" });
        for (const content of USERS) {
          const rendered = template.render([{ role: "user", content }], tokenizer.namedTokens);
          const { ids } = layouts[layout](tokenizer).encode(content, 1000);
          assert.deepEqual(tokenizer.encodeRendered(rendered), ids, JSON.stringify(content));
        }
        const roles = [["system", "user"], ["user", "assistant", "user"], ["assistant"]];
        for (const conversation of roles) {
          const messages = conversation.map((role) => ({ role, content: "a" }));
          assert.throws(() => template.render(messages, {}), /one user message and no other/);
        }
      });
    }
  }

  it("saves one that refuses all where none could make the prompts of training", async () => {
    const text = (await savedTemplate(await chatTokenizer(FIRST_WORD), { chat_template: "none" }))!;
    const template = compileChatTemplate({ text, source: "the run" });
    assert.throws(() => template.render([{ role: "user", content: "a" }], {}), /without the chat template/);
  });

  it("of a file saves that file's text, but where it is the tokenizer's own", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "chat.jinja");
      await writeFile(file, OWN);
      const settings = { chat_template: `file:${file}` };
      assert.equal(await savedTemplate(await chatTokenizer("llama2_json"), settings), null);
      assert.equal(await savedTemplate(await chatTokenizer("llama2_json", "another"), settings), OWN);
      assert.equal(await savedTemplate(await chatTokenizer("llama2_json", null), settings), OWN);
    }));

  it("saves none where the tokenizer has none, nor where its own is trained with", async () => {
    for (const chat_template of ["beaver", "none", null]) {
      assert.equal(await savedTemplate(await chatTokenizer("llama2_json", null), { chat_template }), null);
    }
    for (const chat_template of ["model", null]) {
      assert.equal(await savedTemplate(await chatTokenizer("llama2_json"), { chat_template }), null);
    }
  });

  it("keeps its template where the model's own files are copied beside it", () =>
    withScratchFolder(async (folder) => {
      const [model, run] = ["model", "run"].map((name) => join(folder, name));
      for (const dir of [model, run]) await mkdir(dir);
      const names = ["tokenizer.json", "chat_template.jinja"];
      for (const name of names) await writeFile(join(model, name), "the model's");
      await writeFile(join(run, "chat_template.jinja"), "the run's");
      const files = names.map((name) => join(model, name));
      const contents = () => Promise.all(names.map((name) => readFile(join(run, name), "utf8")));
      await copyModelFiles(run, carriedFiles(run, { files, template: "the run's" }));
      assert.deepEqual(await contents(), ["the model's", "the run's"]);
      await copyModelFiles(run, carriedFiles(run, { files, template: null }));
      assert.deepEqual(await contents(), ["the model's", "the model's"]);
    }));
});
