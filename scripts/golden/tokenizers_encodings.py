"""Writes test/golden/tokenizers: small tokenizers trained on the text below, and what the library `tokenizers` encodes with them.

`byte-level` splits words as configs/quickstart/base does, `gpt2` as GPT-2 does, `sentencepiece` replaces spaces, falls back to bytes
and puts a BOS token in front, as Llama 2 does; `prepend` does so in the pre-tokeniser, as newer files of that kind do.
Usage: python scripts/golden/tokenizers_encodings.py   (pip install tokenizers==0.23.2)
"""
import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = Path(__file__).parents[2] / "test/golden/tokenizers"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{Ll}+|\p{Lu}\p{Ll}*| ?\p{N}+| ?[^\s\p{L}\p{N}]+|[\p{Lt}\p{Lm}\p{Lo}]|\s+(?!\S)|\s+"

CORPUS = """The old ferry leaves at nine, and it doesn't come back before noon.
Mira counted 12 boats, 340 gulls and one very small dog in the harbour.
"Where's the captain?" she asked. "He'll be late again," said the cook; "he's been late since 1998."
We were walking along the river when the rain began: first a few drops, then more and more of them.
Nobody knows why the lamp at the end of the pier is green, but everyone has heard a story about it.
function total(rows) { return rows.reduce((sum, row) => sum + row.price, 0); }
    if (count == 0) {
        return None  # nothing was counted
    }
Der Zug nach Gießen hält heute nicht in Köln; die Straße über die Brücke ist gesperrt.
El niño comió una manzana en el jardín, y después durmió la siesta.
Les élèves étaient déjà à l'école où l'on préparait une fête.
Корабль уходит в девять часов, а капитан опять опаздывает.
船は九時に出ます。船長はまだ来ていません。
""".splitlines()

TEXTS = [
    "The old ferry leaves at nine.",
    " leading and trailing spaces  ",
    "two  spaces,   three, \t a tab\tand\n\n\nlines\r\n",
    "don't, she'll, WE'VE, I'm; 'tis",
    "1998 boats, 3.14159 and 1,000,000",
    "CamelCaseWords and snake_case_words",
    "function total(rows) { return rows[0] }",
    "    if (count == 0) {\n        return None",
    "Straße über die Brücke",
    "niño, jardín, déjà vu, coöperate",
    "e\u0301le\u0300ve (combining), \ufb01ne (ligature)",
    "капитан опять",
    "船は九時に出ます。",
    "สวัสดีครับ مرحبا שלום",
    "emoji 🚢⚓ and family 👨‍👩‍👧 flag 🇳🇴",
    "\u200bzero\u200bwidth\u00a0no-break\u2003em space",
    "",
    " ",
    "\n",
    "a",
    "<|endoftext|>",
    "before<|endoftext|>after <|pad|> end",
    "<s>hello</s> world<unk>",
    "▁ a real ▁ mark",
    "<0x41> is not a byte",
    "!!!???...---***",
    "Ünïcödé ÀÉÎÕÜ ßẞ İı ǅ ʰ",
    "\x00\x07 control \x7f",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 Ⅻ ½ ²",
]


def save(name, tokenizer):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(config, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    encodings = []
    for text in TEXTS:
        special = tokenizer.encode(text).ids
        encodings.append({
            "text": text,
            "ids_with_special": special,
            "ids": tokenizer.encode(text, add_special_tokens=False).ids,
            "decoded": tokenizer.decode(special, skip_special_tokens=False),
            "decoded_skip_special": tokenizer.decode(special, skip_special_tokens=True),
        })
    return {"vocab_size": tokenizer.get_vocab_size(), "encodings": encodings}


def special(*names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level(pre_tokenizer, names):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, show_progress=False, special_tokens=special(*names), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def byte_fallback(metaspace):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    # Learns of words, as SentencePiece does, and of the letters of the first lines alone: all others fall back to bytes.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    learner.train_from_iterator(CORPUS[:5], trainers.BpeTrainer(vocab_size=320, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer.model = models.BPE({piece: i for i, piece in enumerate(pieces)}, [tuple(pair) for pair in learned["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer.add_special_tokens(special("<unk>", "<s>", "</s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


quickstart = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
results = {
    "byte-level": save("byte-level", byte_level(quickstart, ["<|endoftext|>", "<|pad|>"])),
    "gpt2": save("gpt2", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])),
    "sentencepiece": save("sentencepiece", byte_fallback(metaspace=False)),
    "prepend": save("prepend", byte_fallback(metaspace=True)),
}
(OUT / "encodings.json").write_text(json.dumps({"version": tokenizers.__version__, "results": results}, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
