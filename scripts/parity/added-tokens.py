"""Compares token ids of texts with added tokens: the tokenizer as lowrank saves it, read by lowrank and by the native library.

usage: npm run build && python added-tokens.py TOKENIZER [--count 400] [--seed 0] [--normalized]

TOKENIZER is a folder with tokenizer.json (and tokenizer_config.json). The native library is that of the package `tokenizers`.
lowrank adds tokens that are compared with the text as it is written; --normalized has them compared with what the normalizer made, as other files do.
"""
import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import tokenizers

TOKENS = ["<tool>", "</tool>", "[[x]]", "naïve", "two words", "日本"]
PIECES = TOKENS * 2 + ["a", "now", " ", "  ", "\n", "Call it:", "é", "日", "<tool", ">", "x1", "\t", "The cat", "🙂", "▁", "."]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--normalized", action="store_true")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    texts = [piece + other for piece in TOKENS for other in ("", "a", " a", piece, "\n" + piece)] + ["a" + token + "b" for token in TOKENS]
    texts += ["".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 12))) for _ in range(args.count)]
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.json"
        given.write_text(json.dumps({"tokens": TOKENS, "texts": texts, "normalized": args.normalized}), encoding="utf-8")
        script = Path(__file__).with_name("added-tokens.mjs")
        subprocess.run(["node", str(script), str(args.tokenizer), str(given), folder], check=True)
        encoded = json.loads((Path(folder) / "encoded.json").read_text(encoding="utf-8"))
        native = tokenizers.Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        native.no_padding()
        native.no_truncation()
    differing = [(text, ids, expected) for text, ids in zip(texts, encoded) if ids != (expected := native.encode(text).ids)]
    for text, ids, expected in differing[:10]:
        print(repr(text), ids, expected)
    print(f"{len(texts)} texts, {len(differing)} differ (tokenizers {tokenizers.__version__})")
    raise SystemExit(1 if differing else 0)


if __name__ == "__main__":
    main()
