"""Writes test/golden/text/: tokenizers, their ids by transformers, conversations in safe-rlhf's format.

Folders, all made here (no third-party text or vocabulary):
  llama2_model   tokenizer.model alone, trained by sentencepiece with the settings of Llama's
  spaces_model   another whose pieces of spaces all have the score -1e9, as in the files of Llama 2 and Mistral, and
                 to which pieces of score 0 were added, as vocabularies are extended
  unigram_model  a tokenizer.model of type UNIGRAM with a table of replacements (a small one in the place of
                 nmt_nfkc's), remove_extra_whitespaces and user-defined pieces
  llama2_files   another tokenizer.model, with a control piece, a user-defined piece and the files beside it
  llama2_json    what transformers saves of llama2_model
  llama2_legacy  the same with legacy=True
  llama2_prepend the same as older versions saved it: a normalizer in place of the pre-tokenizer
  llama3_json    byte-level BPE with Llama 3's split, ignore_merges and added control tokens
  bytes_json     byte-level BPE with GPT-2's split, and merges across characters that only one of JavaScript's
                 \\s and transformers' takes for spaces
models/quickstart/policy of the repository is held to the same strings.

The reference of a tokenizer.model is sentencepiece itself: transformers 5 drops a space in front, and merges runs of
spaces in another order. Around control tokens it is LlamaTokenizer of transformers 4: with legacy=True a space goes
before every part of the text, otherwise before its beginning alone.

ids.json: for every string the ids of tokenizer(text); those of the text as plain text, by
split_special_tokens=True; what the first decode to; and random ids decoded. conversations.json: prompts and
conversations, text and ids.

Run: python test/golden/make/text.py (packages: requirements.txt beside it)
"""

import io
import json
import pathlib
import random
import re
import shutil
import tempfile
import types

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

SEED = 2718
OUT = pathlib.Path(__file__).resolve().parents[1]
QUICKSTART = pathlib.Path(__file__).resolve().parents[3] / "models" / "quickstart" / "policy"

# safe-rlhf, github.com/PKU-Alignment/safe-rlhf: PROMPT_BEGIN, PROMPT_USER and PROMPT_ASSISTANT of
# safe_rlhf/configs/constants.py; safe_rlhf/datasets/preference.py appends the answer and the tokenizer's EOS.
PROMPT_BEGIN = "BEGINNING OF CONVERSATION: "
PROMPT_USER = "USER: {input} "
PROMPT_ASSISTANT = "ASSISTANT:"

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
LLAMA3_CONTROL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
]

HARD_STRINGS = [
    "", " ", "  ", "   ", "    ", " a", "  a", "   a", "a ", "a  ", " a ", "a b", "a  b", "a   b", "a    b",
    "  a  b  ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", " \n ", "a\nb", "a\n\nb", "a \n b",
    "a\tb", "\ta", "a\t", "\n\n\n a", "a\r\nb", "line one\nline two\n", "\v", "\f", "a\u0085b", "\u0085",
    "\u00a0", "a\u00a0b", " \u00a0 ", "\u2028", "a\u2029b", "\u200b", "a\u200bb", "\u3000", "a\u3000b",
    "\u2003x", "\u1680", "\u180e", "a\u180eb", "\u202f", "\u205f", "\ufeff", "\ufeffa", "a\ufeffb",
    " \ufeff ", "a \ufeff b", "\x1c", "a\x1db", "\x1e \x1f", "\u0000", "a\u0000b", "\u0000\u0000",
    "\x01\x02\x03", "\x07bell", "\x1b[31mred\x1b[0m", "\x7f", "\u0080", "\u009f", "\ufffd", "\ufffe",
    "\uffff", "\U0010ffff", "\ue000", "\uf8ff", "\u2581", "\u2581\u2581", "a\u2581b", "\u2581 a", " \u2581a",
    "\u2581a", "\u0120hello", "\u010a", "\u0100", "</s>", "<s>", "<unk>", "<pad>", "[PAD]", "<s></s>",
    "a</s>", "</s>a", "a</s>b", " </s>", "</s> ", "a </s> b", "<s> a", "<s>a</s>", "</s></s>", "< /s>",
    "</ s>", "<</s>>", "</s", "/s>", "&lt;/s&gt;", "</S>", "<|eot_id|>", "a<|eot_id|>b", "<|begin_of_text|>",
    "<|begin_of_text|>hi<|end_of_text|>", "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
    "<|eot_id", "|eot_id|>", "<|endoftext|>", "<0x0A>", "<0x00>", "a<0x0A>b", "<0xE6><0x97><0xA5>", "<0xGG>",
    "<unk>a<unk>", "<ctl>", "a<ctl>b", "<|user|>", "a<|user|>b", "<mask>", "[INST] hi [/INST]",
    "<<SYS>>\nx\n<</SYS>>\n\n", "\u00e9", "e\u0301", "\u00c5", "\u212b", "\ufb01", "\u00df", "\u1e9e",
    "\u0130", "\u0131", "n\u0303o\u0308e\u0301", "a\u0301\u0302\u0303\u0304\u0305",
    "Z\u0351\u036b\u0343a\u0360l\u0334g\u031bo\u0322", "\u1100\u1161\u11a8", "\uac01", "\u65e5\u672c\u8a9e",
    "\u65e5\u672c \u8a9e", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u3053\u3093\u306b\u3061\u306f",
    "\ud55c\uad6d\uc5b4", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\u202eabc\u202c", "\u200f\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u05e2\u05b4\u05d1\u05b0\u05e8\u05b4\u05d9\u05ea", "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\u0e44\u0e17\u0e22", "\u1e00", "\u0661\u0662\u0663", "\u2167", "\u00bd", "\u00b2", "\uff11\uff12",
    "1\ufe0f\u20e3", "\u2603", "\u2764\ufe0f", "\U0001f600", "\U0001f600\U0001f600", "a\U0001f600b",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "\u200d", "\ufe0f", "\U00020000",
    "\U0001d538\U0001d539", "a\U000e0001b", "0", "00", "007", "123", "1234", "12345", "1 2 3", "3.14159",
    "-1e-9", "1,000,000", "0xDEADBEEF", "1/2", "100%", "$5", "a1b2c3", "2024-02-30", "'s", "don't", "DON'T",
    "it's we've I'll he'd", "''s", "'", "\u2019s", "\"quoted\"", "a.b", "a . b", "a , b !", "...", "!!!",
    "?!", "()[]{}", "a-b", "a_b", "a\\nb", "\\", "/", "#", "@user", "https://example.org/a?b=c&d=%20#e",
    "x@example.org", "~`^|", "<>", "&amp;", "\u2014", "\u2026", "\u201ca\u201d",
    "def f(x):\n    return x + 1\n", "if (a < b) { c[d] = *e; }", "\t\tindented\n\t\tmore", "for(;;);",
    "<a href='b'>c</a>", "SELECT * FROM t WHERE a = 'b';", "{\"a\": [1, 2, null]}", "x = 1  # two spaces",
    "// \u00e9", "$\\frac{1}{2}$", "| a | b |\n|---|---|",
    "BEGINNING OF CONVERSATION: USER: hello ASSISTANT:", "BEGINNING OF CONVERSATION: USER:  ASSISTANT:",
    "USER:", " ASSISTANT:", "x" * 300, "ab" * 120, " " * 100, "a " * 60, "\n" * 40, "\U0001f600" * 20,
    "\u0301" * 30, "<s>" * 10, "Th" + "e" * 100, "\ufeff\ufeff! \ufeff!", "!\ufeff\ufeff", " \ufeff",
    "\u0085\u0085 \u0085", " \u0085!", "a \ufeffb", "constructor", "__proto__", "toString",
    "hasOwnProperty valueOf", "null", "undefined", "NaN", "true", "prototype",
]

USER_DEFINED = {"<|user|>", "don't", "e\u0301", "  "}

FRAGMENTS = [
    " ", "  ", "\n", "\t", "a", "the", "hello", "World", "42", "'s", "</s>", "<s>", "<unk>", "<|eot_id|>",
    "\u2581", "\u00e9", "e\u0301", "\U0001f600", "\u65e5", "\u0000", "\ufeff", "\u0085", "\u200d", "!",
    "<0x0A>", "USER:", "\u0627", "_", "\u00a0", "sto",
]

LONG_QUESTION = "How do I keep a dog from barking at night when the neighbours sleep, and is it kind? " * 3
TURNS = "BEGINNING OF CONVERSATION: USER: a ASSISTANT: b USER: c ASSISTANT:"
USERS = [
    "How do I fry an egg?", "", " ", "hello", " hello", "hello ", "  two  spaces  ", "\nnewline first",
    "newline last\n", "what does ASSISTANT: mean?", "USER: hi ASSISTANT: yo", "say ASSISTANT:", " ASSISTANT:",
    "USER:", "BEGINNING OF CONVERSATION:", "BEGINNING OF CONVERSATION: USER: ",
    "BEGINNING OF CONVERSATION: USER: whole template ASSISTANT:", TURNS,
    "BEGINNING OF CONVERSATION: USER:  ASSISTANT:", "BEGINNING OF CONVERSATION: USER: no end",
    "no beginning ASSISTANT:", "beginning of conversation: user: x assistant:",
    "BEGINNING OF CONVERSATION: USER: x ASSISTANT: ", "</s>", "a</s>b", "<s>", "end</s>", "<|eot_id|>",
    "<unk>", "{input}", "%s {0} $1 $& $$", "\u65e5\u672c\u8a9e", "caf\u00e9 e\u0301",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u2581",
    "a\u0000b", "\ufeffbom", "a\tb", LONG_QUESTION,
]
ANSWERS = [
    " Stay near the stove.", "", "no space", " ", "  two", "\n", " ends with EOS</s>", " </s> in the middle",
    " USER: made up", " ASSISTANT: again", " \u65e5\u672c\u8a9e \U0001f600", " trailing ", " 1. a\n2. b\n",
    "<s>", " \u2581", " e\u0301", " </s></s>",
]


def make_lines(rng: random.Random) -> list[str]:
    heads, tails = "b d f h k l m n p r s t th st".split(), "a e i o u ai er ing on".split()
    syllables = [head + tail for head in heads for tail in tails]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(400)]
    words += "BEGINNING OF CONVERSATION: USER: ASSISTANT: the hello World".split()
    words += "caf\u00e9 \u65e5\u672c 42 1, (a) b.".split()
    return [" ".join(rng.choices(words, k=12)) + "  " + str(rng.randint(0, 9999)) for _ in range(1200)]


# The settings in trainer_spec and normalizer_spec of the tokenizer.model of Llama 1 and 2.
LLAMA_SETTINGS = {
    "model_type": "bpe",
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "character_coverage": 0.99995,
}


def train_sentencepiece(lines: list[str], folder: pathlib.Path, **options) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        num_threads=1,
        minloglevel=2,
        **{**LLAMA_SETTINGS, **options},
    )
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())


def rewrite_model(folder: pathlib.Path, change) -> None:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "tokenizer.model").read_bytes())
    change(proto)
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())


def write_spaces_model(lines: list[str], folder: pathlib.Path) -> None:
    indented = [" " * (i % 23) + line.replace(" ", " " * (1 + i % 5), 3) for i, line in enumerate(lines)]
    train_sentencepiece(indented, folder, vocab_size=600)

    def change(proto) -> None:
        for piece in proto.pieces:
            if piece.type == piece.NORMAL and set(piece.piece) == {"\u2581"}:
                piece.score = -1e9
        have = {piece.piece for piece in proto.pieces}
        for text in ("hello", "\u2581hello", "llo", "\u65e5\u672c", "ab", "bab"):
            if text not in have:
                proto.pieces.add(piece=text, score=0)

    rewrite_model(folder, change)


REPLACED = {
    "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u200b": "", "\ufb01": "fi", "\uff11": "1",
    "n\u0303": "\u00f1", "o\u0308": "\u00f6", "\u1100\u1161\u11a8": "\uac01", "\u1100": "g", "\u00bd": "1/2",
    "\u2026": "...", "\U0001d538": "A", "\ufeff": "", "A\u030a": "\u00c5",
}


def write_unigram_model(lines: list[str], folder: pathlib.Path) -> None:
    points = lambda text: " ".join(f"{ord(character):X}" for character in text)
    rows = [f"{points(before)}\t{points(after)}\n" for before, after in REPLACED.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as table:
        table.write("".join(rows))
        table.flush()
        train_sentencepiece(
            lines,
            folder,
            vocab_size=600,
            model_type="unigram",
            normalization_rule_tsv=table.name,
            remove_extra_whitespaces=True,
            allow_whitespace_only_pieces=False,
            user_defined_symbols=sorted(USER_DEFINED),
        )


class SentencePieceReference:
    """Ids by sentencepiece, around the added tokens as LlamaTokenizer of transformers 4 has them."""

    def __init__(self, folder: pathlib.Path, transformed=None, legacy: bool = False) -> None:
        def processor(prefix: bool):
            proto = sentencepiece_model_pb2.ModelProto()
            proto.ParseFromString((folder / "tokenizer.model").read_bytes())
            proto.normalizer_spec.add_dummy_prefix &= prefix
            return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())

        self.model, self.amid = processor(True), processor(False)
        self.legacy = legacy
        self.pieces = [self.model.id_to_piece(id) for id in range(self.model.vocab_size())]
        self.bos_token_id, self.eos_token_id = self.model.bos_id(), self.model.eos_id()
        self.eos_token = self.pieces[self.eos_token_id]
        added = {} if transformed is None else transformed.added_tokens_decoder
        user = {id for id in range(len(self.pieces)) if self.pieces[id] in USER_DEFINED}
        self.added = {token.content: (id, token.special) for id, token in added.items() if id not in user}
        for id, piece in enumerate(self.pieces):
            if self.model.is_control(id) or self.model.is_unknown(id):
                self.added[piece] = (id, True)
        self.all_special_tokens = [content for content, (_, special) in self.added.items() if special]

    def __len__(self) -> int:
        return max(len(self.pieces), 1 + max(id for id, _ in self.added.values()))

    def get_vocab(self) -> dict[str, int]:
        return {piece: id for id, piece in enumerate(self.pieces)}

    def __call__(self, text: str, split_special_tokens: bool = False, add_special_tokens: bool = True):
        matched = [token for token, (_, special) in self.added.items() if not (special and split_special_tokens)]
        pattern = "|".join(re.escape(token) for token in sorted(matched, key=len, reverse=True))
        parts = [part for part in re.split(f"({pattern})", text) if part] if matched else [text]
        ids = [self.bos_token_id] if add_special_tokens else []
        for i, part in enumerate(parts):
            model = self.model if i == 0 or self.legacy else self.amid
            ids += [self.added[part][0]] if part in matched else model.encode(part)
        return types.SimpleNamespace(input_ids=ids)

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        texts = {**dict(enumerate(self.pieces)), **{id: token for token, (id, _) in self.added.items()}}
        special = {id for id, is_special in self.added.values() if is_special and skip_special_tokens}
        steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        return decoders.Sequence(steps).decode([texts[id] for id in ids if id not in special])


def write_json(path: pathlib.Path, value) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def save_json_folder(tokenizer, folder: pathlib.Path) -> None:
    """As transformers saves it, without the white space."""
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        write_json(path, json.loads(path.read_text()))


def write_llama2_files(lines: list[str], folder: pathlib.Path) -> None:
    symbols = {"control_symbols": ["<ctl>"], "user_defined_symbols": ["<|user|>"]}
    train_sentencepiece(lines, folder, vocab_size=500, **symbols)
    token = {"content": "<s>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}
    write_json(folder / "tokenizer_config.json", {**config, "bos_token": {"__type": "AddedToken", **token}})
    named = {"bos_token": token, "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "[PAD]"}
    write_json(folder / "special_tokens_map.json", named)
    write_json(folder / "added_tokens.json", {"[PAD]": 500, "<mask>": 501})


def write_prepend(source: pathlib.Path, folder: pathlib.Path) -> None:
    folder.mkdir()
    saved = json.loads((source / "tokenizer.json").read_text())
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    steps = [{"type": "Prepend", "prepend": "\u2581"}, replace]
    saved["normalizer"] = {"type": "Sequence", "normalizers": steps}
    saved["pre_tokenizer"] = None
    saved["model"]["unk_token"] = "<unk>"
    saved["model"]["merges"] = [" ".join(merge) for merge in saved["model"]["merges"]]
    write_json(folder / "tokenizer.json", saved)
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})


def write_llama3(lines: list[str], folder: pathlib.Path) -> None:
    made = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated", invert=False)
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(lines, trainer)
    made.add_special_tokens(LLAMA3_CONTROL)
    begin = LLAMA3_CONTROL[0]
    template = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin}:1 $B:1",
        special_tokens=[(begin, made.token_to_id(begin))],
    )
    made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    saved = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=begin, eos_token="<|eot_id|>", clean_up_tokenization_spaces=True
    )
    save_json_folder(saved, folder)


def write_bytes(lines: list[str], folder: pathlib.Path) -> None:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    spaces = ["\ufeff\ufeff! \ufeff! \u0085\u0085 \u0085!\u0085 \ufeffa"] * 400
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        initial_alphabet=alphabet,
        special_tokens=["<s>", "</s>", "<unk>"],
        show_progress=False,
    )
    made.train_from_iterator(lines + spaces, trainer)
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    save_json_folder(PreTrainedTokenizerFast(tokenizer_object=made, add_bos_token=True, **named), folder)


def plain_ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, split_special_tokens=True, add_special_tokens=False).input_ids


def golden_of(tokenizer, strings: list[str], rng: random.Random) -> dict:
    """Rows [ids, plain ids, decoded]; null: the ids without their BOS, the string itself."""
    rows = []
    for text in strings:
        ids, plain = tokenizer(text).input_ids, plain_ids(tokenizer, text)
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        bare = [tokenizer.bos_token_id, *plain]
        rows.append([ids, None if ids == bare else plain, None if decoded == text else decoded])
    byte_ids = sorted(id for token, id in tokenizer.get_vocab().items() if token.startswith("<0x"))
    decodes = []
    for _ in range(80):
        ids = rng.choices(range(len(tokenizer)), k=rng.randint(1, 10))
        ids = [rng.choice(byte_ids) if byte_ids and rng.random() < 0.5 else id for id in ids]
        whole, bare = (tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True))
        decodes.append([ids, whole, bare])
    return {"vocab_size": len(tokenizer), "eos_id": tokenizer.eos_token_id, "rows": rows, "decodes": decodes}


def format_prompt(user: str) -> str:
    """safe-rlhf's prompt of one turn; a text that is a whole prompt already is used as it is."""
    begin, end = PROMPT_BEGIN + "USER: ", " " + PROMPT_ASSISTANT
    if len(user) >= len(begin + end) and user.startswith(begin) and user.endswith(end):
        return user
    return PROMPT_BEGIN + PROMPT_USER.replace("{input}", user) + PROMPT_ASSISTANT


def conversation(named_tokenizers: dict, user: str, answer: str) -> dict:
    prompt = format_prompt(user)
    ids = {}
    for name, tokenizer in named_tokenizers.items():
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        text = prompt + answer
        body = text.removesuffix(tokenizer.eos_token)
        prompt_ids = [bos, *plain_ids(tokenizer, prompt)]
        scored_ids = [bos, *plain_ids(tokenizer, body), eos]
        if not any(token in body for token in tokenizer.all_special_tokens):
            # Where no control token is written out, these are the ids that safe-rlhf itself gets.
            assert prompt_ids == tokenizer(prompt).input_ids
            assert scored_ids == tokenizer(body + tokenizer.eos_token).input_ids
        ids[name] = [prompt_ids, scored_ids]
    return {"user": user, "answer": answer, "prompt": prompt, "conversation": prompt + answer, "ids": ids}


def make_strings(rng: random.Random) -> list[str]:
    made = ["".join(rng.choices(FRAGMENTS, k=rng.randint(2, 9))) for _ in range(80)]
    return list(dict.fromkeys(HARD_STRINGS + made))


def main(out: pathlib.Path) -> None:
    folder = out / "text"
    shutil.rmtree(folder, ignore_errors=True)
    rng = random.Random(SEED)
    lines = make_lines(rng)
    train_sentencepiece(lines, folder / "llama2_model", vocab_size=800)
    write_llama2_files(lines, folder / "llama2_files")
    write_spaces_model(lines, folder / "spaces_model")
    write_unigram_model(lines, folder / "unigram_model")
    write_bytes(lines, folder / "bytes_json")
    # transformers 5 adds no BOS unless told to; LlamaTokenizer's documentation says it does, and 4.x did.
    of_model = {
        legacy: LlamaTokenizer.from_pretrained(folder / "llama2_model", add_bos_token=True, legacy=legacy)
        for legacy in (False, True)
    }
    save_json_folder(of_model[False], folder / "llama2_json")
    save_json_folder(of_model[True], folder / "llama2_legacy")
    write_prepend(folder / "llama2_json", folder / "llama2_prepend")
    write_llama3(lines, folder / "llama3_json")
    loaded = {
        "llama2_model": SentencePieceReference(folder / "llama2_model"),
        "llama2_files": SentencePieceReference(
            folder / "llama2_files", LlamaTokenizer.from_pretrained(folder / "llama2_files"), legacy=True
        ),
        "llama2_json": LlamaTokenizer.from_pretrained(folder / "llama2_json"),
        "llama2_legacy": LlamaTokenizer.from_pretrained(folder / "llama2_legacy", legacy=True),
        "llama2_prepend": PreTrainedTokenizerFast.from_pretrained(folder / "llama2_prepend"),
        "llama3_json": PreTrainedTokenizerFast.from_pretrained(folder / "llama3_json"),
        "bytes_json": PreTrainedTokenizerFast.from_pretrained(folder / "bytes_json"),
        "quickstart": PreTrainedTokenizerFast.from_pretrained(QUICKSTART),
        "spaces_model": SentencePieceReference(folder / "spaces_model"),
        "unigram_model": SentencePieceReference(folder / "unigram_model"),
    }
    strings = make_strings(rng)
    packages = (transformers, tokenizers, sentencepiece)
    head = {"versions": {package.__name__: package.__version__ for package in packages}, "seed": SEED}
    goldens = {name: golden_of(tokenizer, strings, rng) for name, tokenizer in loaded.items()}
    write_json(folder / "ids.json", {**head, "strings": strings, "tokenizers": goldens})
    used = {name: loaded[name] for name in ("llama2_model", "quickstart")}
    # LlamaTokenizer puts its own pre-tokenizer in the place of the file's normalizer: no prompt may show it.
    used["llama2_prepend"] = LlamaTokenizer.from_pretrained(folder / "llama2_prepend", add_bos_token=True)
    pairs = [(user, ANSWERS[i % len(ANSWERS)]) for i, user in enumerate(USERS)]
    write_json(folder / "conversations.json", {**head, "rows": [conversation(used, *pair) for pair in pairs]})


if __name__ == "__main__":
    main(OUT)
