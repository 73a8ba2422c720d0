"""Writes test/golden/tokenizers/added-tokens.json: what transformers encodes with tokens added to the small tokenizers of that folder.

Each tokenizer gets the tokens as texts that are compared with what is written (`normalized=False`, as lowrank adds them), and as texts that
are compared with what the normalizer has made (`normalized=True`, the default of transformers' add_tokens).
Usage: python scripts/golden/added_tokens.py   (after tokenizers_encodings.py; pip install transformers==5.18.0)
"""
import json
from pathlib import Path

import transformers
from transformers import AddedToken, PreTrainedTokenizerFast

FOLDER = Path(__file__).parents[2] / "test/golden/tokenizers"
TOKENS = ["<tool>", "</tool>", "[[x]]", "two words"]
TEXTS = [
    "<tool>",
    "<tool>now</tool>",
    " <tool> now </tool> ",
    "call<tool>now</tool>then",
    "<tool><tool></tool>",
    "a [[x]] b[[x]]c",
    "</tool></tool>",
    "[[x]]",
    "two words</tool>two words</tool>",
    "two words",
    "The two words, two  words and twotwo words",
    "the ferry\n<tool>\nleaves</tool>\n",
    "<tool",
    "</tool>>",
    "<s><tool>hello</s>",
    "",
]


def main():
    result = {"transformers": transformers.__version__, "tokens": TOKENS, "texts": TEXTS, "encodings": {}}
    for name in ["byte-level", "gpt2", "sentencepiece", "prepend"]:
        result["encodings"][name] = {}
        for normalized in (False, True):
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / name / "tokenizer.json"))
            tokenizer.add_tokens([AddedToken(token, normalized=normalized) for token in TOKENS])
            result["encodings"][name]["normalized" if normalized else "as written"] = {
                "added": [tokenizer.convert_tokens_to_ids(token) for token in TOKENS],
                "ids": [tokenizer.encode(text) for text in TEXTS],
            }
    (FOLDER / "added-tokens.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
