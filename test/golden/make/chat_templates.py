"""Writes test/golden/chat_templates/: ids of conversations by transformers' apply_chat_template.

Six folders of tokenizers, each with a chat template in the style of a family of models: the same constructs (loops,
trim, namespaces, raise_exception, splitting at </think>, a system prompt folded into the user's turn), written for
this, on two small vocabularies trained here. Each keeps its template where transformers looks for one: a text or a list
in tokenizer_config.json, chat_template.jinja, chat_template.json.

conversations.json: conversations, of which half hold control tokens, odd spaces or byte order marks; per style a hash of
each one's ids with add_generation_prompt=True and sanitize_control_tokens=True (control tokens of messages stay text),
or "refused" where the template raises; per style the arguments of the template, and the ids of the first few
conversations in full, for whoever looks for a difference.

Run: python test/golden/make/chat_templates.py (packages: requirements.txt beside it)
"""

import hashlib
import json
import pathlib
import random
import shutil

import jinja2
import tokenizers
import transformers
from text import make_lines
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SEED = 3141
OUT = pathlib.Path(__file__).resolve().parents[1]
CONVERSATIONS = 320
IN_FULL = 3

SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2000" %}
    {%- endif %}
{%- endif %}
{#- The first system message, if any, is taken out and goes below the dates. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_text = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_text = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Knowledge ends: long ago\\n" }}
{{- "Today: " + date_string + "\\n\\n" }}
{{- system_text }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN25 = """{%- if tools %}
    {{- raise_exception('no tools here') }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a small model. You answer.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<result>') and message.content.endswith('</result>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thoughts = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query - 3 and thoughts %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set asked = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- for message in loop_messages | rejectattr("role", "equalto", "tool") | selectattr("tool_calls", "undefined") %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the system message, user and assistant take turns') }}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {%- if message == asked[-1] and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are known, got ' + message['role']) }}
    {%- endif %}
{%- endfor %}
"""

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

CONTROL = {
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "qwen25": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>"],
    "mistral": ["<s>", "</s>", "<unk>", "[INST]", "[/INST]"],
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "gemma": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
}
# Added tokens that are not special, as Qwen 3 has them.
PLAIN_ADDED = {"qwen3": ["<think>", "</think>"], "gemma": ["\n\n"]}
STYLES = {
    "llama3": (LLAMA3, {"date_string": "26 Jul 2024"}),
    "qwen25": (QWEN25, {}),
    "qwen3": (QWEN3, {"enable_thinking": False}),
    "mistral": (MISTRAL, {}),
    "chatml": (CHATML, {}),
    "gemma": (GEMMA, {}),
}
NAMED = {
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen25": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "chatml": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
}

FRAGMENTS = [
    " ", "  ", "\n", "\n\n", "\t", "a", "the", "hello", "World", "42", "'s", "!", "?", ".", ",", "caf\u00e9", "e\u0301",
    "\U0001f600", "\u65e5\u672c", "\u00a0", "USER:", "\u2581", "{{ x }}", "{% if %}", "%s", "\\n", "system", "user",
]
ODD = [
    "\ufeff", "\u0085", "\x1c", "\u2028", "\u200d", "\u0000", "</s>", "<s>", "<unk>", "[INST]", "[/INST]", "<|eot_id|>",
    "<|im_start|>", "<|im_end|>", "<|im_start|>assistant\n", "<start_of_turn>", "<end_of_turn>", "<eos>", "<bos>",
    "<think>", "</think>", "<tool_call>", "<|begin_of_text|>", "<|im_", "end|>", "</result>",
]


def make_content(rng: random.Random, odd: bool) -> str:
    pieces = FRAGMENTS + (ODD if odd else [])
    text = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
    return text if text.strip() else text + "x"


def make_conversation(rng: random.Random) -> list[dict]:
    odd = rng.random() < 0.5
    system = [{"role": "system", "content": make_content(rng, odd)}] if rng.random() < 0.4 else []
    turns = []
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        answer = {"role": "assistant", "content": make_content(rng, odd)}
        if rng.random() < 0.3:
            answer["content"] = "<think>\n" + make_content(rng, odd) + "\n</think>\n\n " + answer["content"]
        elif rng.random() < 0.15:
            answer["reasoning_content"] = make_content(rng, odd)
        turns += [{"role": "user", "content": make_content(rng, odd)}, answer]
    if turns and rng.random() < 0.1:
        del turns[0]  # an assistant that speaks first
    return system + turns + [{"role": "user", "content": make_content(rng, odd)}]


def make_conversations() -> list[list[dict]]:
    rng = random.Random(SEED)
    return [make_conversation(rng) for _ in range(CONVERSATIONS)]


def ids_of(tokenizer, messages: list[dict], arguments: dict) -> list[int] | None:
    """None where the template refuses the conversation."""
    given = {"add_generation_prompt": True, "tokenize": True, "return_dict": False, **arguments}
    try:
        return tokenizer.apply_chat_template(messages, sanitize_control_tokens=True, **given)
    except jinja2.exceptions.TemplateError:
        return None


def hash_of(ids: list[int] | None) -> str:
    if ids is None:
        return "refused"
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:12]


def bytes_tokenizer(lines: list[str]) -> Tokenizer:
    made = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False)
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))
    return made


def pieces_tokenizer(lines: list[str], control: list[str], prefix: bool) -> Tokenizer:
    """As SentencePiece's: spaces as U+2581, unknown characters as bytes; with a prefix space as Mistral's, or none."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = [normalizers.Replace(" ", "\u2581")]
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), *steps] if prefix else steps)
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = control + byte_tokens
    trainer = trainers.BpeTrainer(vocab_size=len(special) + 300, special_tokens=special, show_progress=False)
    words = (word for line in lines for word in line.split(" "))
    made.train_from_iterator(words, trainer)
    saved = json.loads(made.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] not in byte_tokens]
    return Tokenizer.from_str(json.dumps(saved))


def write_style(style: str, lines: list[str], folder: pathlib.Path) -> None:
    pieces = style in ("mistral", "gemma")
    made = pieces_tokenizer(lines, CONTROL[style], style == "mistral") if pieces else bytes_tokenizer(lines)
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL[style]])
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN_ADDED.get(style, [])])
    begin = NAMED[style].get("bos_token")
    if begin is not None:  # apply_chat_template leaves it out
        made.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A $B", special_tokens=[(begin, made.token_to_id(begin))]
        )
    saved = PreTrainedTokenizerFast(tokenizer_object=made, **NAMED[style])
    saved.save_pretrained(folder)
    for path in folder.iterdir():
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content, separators=(",", ":"), sort_keys=path.name != "tokenizer.json") + "\n")
    place_template(style, folder)


def place_template(style: str, folder: pathlib.Path) -> None:
    template = STYLES[style][0]
    config_path = folder / "tokenizer_config.json"
    config = json.loads(config_path.read_text())
    if style in ("llama3", "gemma"):
        (folder / "chat_template.jinja").write_text(template)
        config["chat_template"] = "the file beside this one counts"
    elif style == "qwen3":
        config["chat_template"] = [{"name": "default", "template": template}, {"name": "tool_use", "template": "no"}]
    else:
        config["chat_template"] = template
    config_path.write_text(json.dumps(config, separators=(",", ":"), sort_keys=True) + "\n")


def main(out: pathlib.Path) -> None:
    folder = out / "chat_templates"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = make_lines(random.Random(SEED))[:400]
    conversations = make_conversations()
    styles = {}
    for style, (_, arguments) in STYLES.items():
        write_style(style, lines, folder / style)
        tokenizer = AutoTokenizer.from_pretrained(folder / style)
        ids = [ids_of(tokenizer, messages, arguments) for messages in conversations]
        styles[style] = {
            "arguments": arguments,
            "hashes": [hash_of(one) for one in ids],
            "ids": ids[:IN_FULL],
        }
    head = {"versions": {package.__name__: package.__version__ for package in (transformers, tokenizers, jinja2)}}
    content = {**head, "seed": SEED, "conversations": conversations, "styles": styles}
    (folder / "conversations.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(OUT)
