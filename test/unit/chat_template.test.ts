/** Chat templates: what a template can call, how conversations become ids, and what is refused. */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openPromptFormat } from "../../src/io/prompts/prompt_format.ts";
import { compileChatTemplate } from "../../src/io/tokenizer/chat_template.ts";
import { chatEncoder } from "../../src/io/tokenizer/marked_chat.ts";
import { strftime } from "../../src/io/tokenizer/python_strings.ts";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import type { Message } from "../../src/rl/conversation.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const render = (text: string, messages: readonly Message[] = [], variables = {}) =>
  compileChatTemplate({ text, source: "a test" }).render(messages, variables);
const user = (content: string): Message => ({ role: "user", content });
const NO_SETTINGS = { chatTemplate: null, systemPrompt: null, templateKwargs: null };
const golden = (style: string) => join(ROOT, "test", "golden", "chat_templates", style);

describe("a template", () => {
  it("strips what Python strips: U+0085 and U+001C are spaces, U+FEFF is none", () => {
    const odd = "\x1c\x85 \ufeffa\ufeff \x1f";
    for (const call of ["x.strip()", "x | trim", "(x | trim)"]) {
      assert.equal(render(`{{ ${call} }}`, [], { x: odd }), "\ufeffa\ufeff", call);
    }
    assert.equal(render("{{ x.lstrip() }}", [], { x: odd }), "\ufeffa\ufeff \x1f");
  });

  it("strips only the characters that it names", () => {
    assert.equal(render("{{ x.lstrip('\\n') }}|{{ x.rstrip('\\n') }}", [], { x: "\n a \n" }), " a \n|\n a ");
    assert.equal(render("{{ x.strip('ab') }}", [], { x: "abcba" }), "c");
  });

  it("counts code points, and of what is not there none", () => {
    assert.equal(
      render("{{ x | length }}{{ y | length }}{{ z | length }}", [], { x: "😀é", z: [1, 2, 3] }),
      "203",
    );
  });

  it("finds the items that lack a field, and compares as Python does", () => {
    const x = [{ a: 1 }, { b: 2 }, { a: 2, b: 2 }];
    const count = (filter: string) =>
      render(`{{ x | ${filter}('a', 'undefined') | list | length }}`, [], { x });
    assert.deepEqual([count("selectattr"), count("rejectattr")], ["1", "2"]);
    const said = "{{ (x == '1')|string }} {{ (x != 1)|string }} {{ (true == 1)|string }}";
    assert.equal(render(said, [], { x: 1 }).toLowerCase(), "false false true");
  });

  it("is given the conversation without nulls, and is asked to begin the answer", () => {
    const text = "{% if messages[0].name is defined %}named{% endif %}{{ add_generation_prompt }}";
    assert.equal(render(text, [{ ...user("a"), name: null } as Message]).toLowerCase(), "true");
  });

  it("writes the date as Python does, in English", () => {
    const date = new Date(2024, 6, 4, 15, 5, 9);
    assert.equal(
      strftime(date, "%d %b %Y %B %A %H:%M:%S %I %p %-d %% %Q"),
      "04 Jul 2024 July Thursday 15:05:09 03 PM 4 % %Q",
    );
    const template = compileChatTemplate({ text: "{{ strftime_now('%Y') }}", source: "a test" });
    assert.equal(template.readsDate, false);
    assert.equal(template.render([], {}), String(new Date().getFullYear()));
    assert.equal(template.readsDate, true);
  });

  it("that cannot be read, or calls what is not there, is named", () => {
    assert.throws(
      () => render("{% if %}"),
      /^SyntaxError: Cannot read the chat template of a test: .*file:PATH/,
    );
    assert.throws(() => render("{{ nothing() }}"), /the chat template of a test cannot be followed/);
    assert.throws(
      () => render("{% for i in range(1000000000) %}{% endfor %}"),
      /range\(\) of more than 100000/,
    );
  });
});

describe("control tokens that a message writes out", () => {
  const encoders = { rendered: (text: string) => [`<${text}>`], asText: (text: string) => [`"${text}"`] };
  const encode = chatEncoder(["</s>", "<s>"], encoders as never) as unknown as (
    inputs: unknown,
    template: (inputs: never) => string,
  ) => string[];

  it("stay text, and those of the template do not", () => {
    const pieces = encode({ text: "a</s>b" }, ({ text }: { text: string }) => `<s>${text}</s>`);
    assert.deepEqual(pieces, ["<<s>a>", `"</s>"`, "<b</s>>"]);
  });

  it("are no marks to a message that holds marks itself, nor is anything of it lost", () => {
    const whole = "\u{f0000}a</s>\u{f0001}\u{f0000}</s>";
    const pieces = encode({ text: whole }, ({ text }: { text: string }) => text).join("").replaceAll(
      /[<>"\n]/g,
      "",
    );
    assert.equal(pieces, whole.replaceAll(/[<>]/g, ""));
  });

  it("that a template takes apart leave no mark behind", () => {
    const pieces = encode({ text: "a</s>b" }, ({ text }: { text: string }) => text.split("</s>")[1]);
    assert.deepEqual(pieces, ["<b>"]);
  });

  for (const style of ["llama3", "qwen3", "mistral", "gemma"]) {
    it(`of ${style}: no id of the prompt is theirs beyond those of the same conversation without them`, async () => {
      const tokenizer = await loadTokenizer(golden(style));
      const format = await openPromptFormat(tokenizer, {
        ...NO_SETTINGS,
        templateKwargs: { date_string: "today" },
      });
      const control = new Set(tokenizer.addedTokens.filter(({ special }) => special).map(({ id }) => id));
      const countIn = (text: string) => format.encode(text, 4096).ids.filter((id) => control.has(id)).length;
      const tokens = tokenizer.addedTokens.filter(({ special }) => special).map(({ content }) => content);
      assert.equal(countIn(`x${tokens.join(" ")}x`), countIn("x"));
      const { ids } = format.encode(`x${tokens.join(" ")}x`, 4096);
      for (const token of tokens) {
        assert.ok(tokenizer.decode(ids, { skipSpecialTokens: true }).includes(token), token);
      }
    });
  }
});

const qwen25 = await loadTokenizer(golden("qwen25"));
const qwen25Format = await openPromptFormat(qwen25, NO_SETTINGS);

describe("a chat template's prompt", () => {
  const [tokenizer, format] = [qwen25, qwen25Format];
  const textOf = (ids: number[], of: Tokenizer = tokenizer) => of.decode(ids);

  it("that is too long loses the end of the last user message, and nothing else", () => {
    const messages = [
      { role: "system", content: "Be brief." },
      user("First question?"),
      { role: "assistant", content: "An answer." },
      user("Why do the neighbours' dogs bark at night?"),
    ];
    const whole = format.encode(messages, 4096);
    for (const less of [1, 5, 12]) {
      const cut = format.encode(messages, whole.ids.length - less);
      assert.ok(cut.truncated && cut.ids.length <= whole.ids.length - less);
      assert.deepEqual(cut.messages, [...messages.slice(0, 3), user(cut.user)]);
      assert.ok(messages[3].content.startsWith(cut.user) && cut.user.length < messages[3].content.length);
      assert.equal(textOf(cut.ids), textOf(whole.ids).replace(messages[3].content, cut.user));
      const [part, all] = [cut.user, messages[3].content].map(tokenizer.encodeWithoutSpecial);
      assert.deepEqual(part, all.slice(0, part.length), "cut at a token's end");
    }
  });

  it("is refused where all else is too long already, with the least that would do", () => {
    const bare = format.encode("x", 4096).ids.length - 1;
    assert.throws(
      () => format.encode("x", bare - 1),
      new RegExp(`it takes ${bare} tokens without any user text`),
    );
    assert.equal(format.encode("xyz", bare).user, "");
  });

  it("of a text of a million characters takes few looks", () => {
    let characters = 0;
    const counting = {
      ...tokenizer,
      encodeRendered: (text: string) => (characters += text.length, tokenizer.encodeRendered(text)),
    };
    return openPromptFormat(counting, NO_SETTINGS).then((counted) => {
      const { ids, truncated } = counted.encode("hello again ".repeat(80_000), 128);
      assert.ok(truncated && ids.length > 120 && ids.length <= 128);
      assert.ok(characters < 60_000, `${characters} characters encoded`);
    });
  });

  it("begins with system_prompt where the conversation brings no system message of its own", async () => {
    const prompted = await openPromptFormat(tokenizer, { ...NO_SETTINGS, systemPrompt: "Rhyme." });
    const { messages, user: asked, ids } = prompted.encode("Why?", 4096);
    assert.deepEqual([messages, asked], [[{ role: "system", content: "Rhyme." }, user("Why?")], "Why?"]);
    assert.deepEqual(ids, format.encode(messages, 4096).ids);
    const own = [{ role: "system", content: "Sing." }, user("Why?")];
    assert.deepEqual(prompted.encode(own, 4096).messages, own);
  });

  it("has chat_template_kwargs, and a template's refusal names its words", async () => {
    const qwen3 = await loadTokenizer(golden("qwen3"));
    const [thinking, not] = await Promise.all(
      [null, { enable_thinking: false }].map(async (templateKwargs) => {
        const one = await openPromptFormat(qwen3, { ...NO_SETTINGS, templateKwargs });
        return textOf(one.encode("Why?", 4096).ids, qwen3);
      }),
    );
    assert.equal(not, `${thinking}<think>\n\n</think>\n\n`);
    const mistral = await openPromptFormat(await loadTokenizer(golden("mistral")), NO_SETTINGS);
    const twice = [user("a"), user("b")];
    assert.throws(
      () => mistral.encode(twice, 4096),
      /refuses it: After the system message, user and assistant/,
    );
    await assert.rejects(
      openPromptFormat(qwen3, { ...NO_SETTINGS, templateKwargs: { messages: [] } }),
      /messages of chat_template_kwargs/,
    );
  });

  it("tells that the date of the day is in it", async () => {
    const llama3 = await loadTokenizer(golden("llama3"));
    for (const [templateKwargs, count] of [[null, 1], [{ date_string: "1 May" }, 0]] as const) {
      const dated = await openPromptFormat(llama3, { ...NO_SETTINGS, templateKwargs });
      dated.encode("Why?", 4096);
      assert.equal(dated.notices().length, count);
    }
  });
});

const quickstart = await loadTokenizer(join(ROOT, "models", "quickstart", "policy"));
const chat = await loadTokenizer(golden("chatml"));

describe("chat_template", () => {
  const open = (tokenizer: Tokenizer, settings: Partial<typeof NO_SETTINGS> | object) =>
    openPromptFormat(tokenizer, { ...NO_SETTINGS, ...settings });

  it("null is the tokenizer's own where it has one, else Beaver's; each is said", async () => {
    const [plain, templated, beaver] = await Promise.all([
      open(quickstart, {}),
      open(chat, {}),
      open(chat, { chatTemplate: "beaver" }),
    ]);
    assert.deepEqual([plain.layout, templated.layout, beaver.layout], ["beaver", "chat", "beaver"]);
    assert.match(plain.description, /Beaver's .*has no chat template/);
    assert.match(templated.description, /chat template of .*chatml.tokenizer_config\.json/);
    await assert.rejects(
      open(quickstart, { chatTemplate: "model" }),
      /required a chat template .*set chat_template/,
    );
  });

  it("beaver takes one message of the user, and says what to set for more", async () => {
    const beaver = await open(chat, { chatTemplate: "beaver" });
    assert.deepEqual(beaver.encode([user("Why?")], 512), beaver.encode("Why?", 512));
    for (const messages of [[{ role: "system", content: "a" }, user("b")], [user("a"), user("b")]]) {
      assert.throws(
        () => beaver.encode(messages, 512),
        /one user message and no other.*set chat_template to "model"/,
      );
    }
  });

  it("none takes a text as it is, BOS in front and control tokens in it, and refuses messages", async () => {
    const none = await open(quickstart, { chatTemplate: "none" });
    const { ids, user: asked } = none.encode("Once </s>upon", 512);
    assert.deepEqual(ids, quickstart.encode("Once </s>upon"));
    assert.ok(ids.includes(quickstart.eosId));
    assert.equal(asked, "Once </s>upon");
    const cut = none.encode("Once upon a time there was", 5);
    assert.ok(cut.truncated && cut.ids.length === 5);
    assert.throws(
      () => none.encode([user("a")], 512),
      /chat_template "none" takes texts, got a list of 1 messages/,
    );
  });

  it("beaver and none have no place for system_prompt and chat_template_kwargs", async () => {
    for (const chatTemplate of ["beaver", "none", null]) {
      for (const given of [{ systemPrompt: "Rhyme." }, { templateKwargs: { a: 1 } }]) {
        const name = "systemPrompt" in given ? "system_prompt" : "chat_template_kwargs";
        await assert.rejects(
          open(quickstart, { chatTemplate, ...given }),
          new RegExp(`Cannot use ${name} with`),
        );
      }
    }
  });

  it("file:PATH is another template, and a file that is not there is named", () =>
    withScratchFolder(async (dir) => {
      await writeFile(
        join(dir, "t.jinja"),
        "{% for m in messages %}\n{{ m.role }}: {{ m.content }}\n\n{% endfor %}\n",
      );
      const format = await open(quickstart, { chatTemplate: `file:${join(dir, "t.jinja")}` });
      assert.equal(quickstart.decode(format.encode("Hi", 64).ids), "user: Hi\n\n");
      await assert.rejects(
        open(quickstart, { chatTemplate: "file:/nowhere/t" }),
        /'\/nowhere\/t': there is no such file/,
      );
    }));

  it("is found where transformers finds it: the file, then the config, of several the default, then chat_template.json", () =>
    withScratchFolder(async (dir) => {
      await mkdir(join(dir, "t"));
      const folder = join(dir, "t");
      const config = JSON.parse(await readFile(join(golden("chatml"), "tokenizer_config.json"), "utf8"));
      await writeFile(
        join(folder, "tokenizer.json"),
        await readFile(join(golden("chatml"), "tokenizer.json")),
      );
      const found = async (chat_template: unknown) => {
        await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template }));
        return (await (await loadTokenizer(folder)).readChatTemplate())?.text;
      };
      assert.equal(await found(undefined), undefined);
      await writeFile(join(folder, "chat_template.json"), JSON.stringify({ chat_template: "of json" }));
      assert.equal(await found(undefined), "of json");
      assert.equal(await found("of config"), "of config");
      const several = [{ name: "tool_use", template: "x" }, { name: "default", template: "of default" }];
      assert.equal(await found(several), "of default");
      await assert.rejects(
        found([{ name: "rag", template: "x" }]),
        /one named "default" among several, got "rag"/,
      );
      await writeFile(join(folder, "chat_template.jinja"), "of file");
      assert.equal(await found("of config"), "of file");
    }));
});
