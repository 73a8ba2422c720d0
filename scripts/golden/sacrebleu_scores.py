"""Writes test/golden/sacrebleu/scores.json: texts of our own, and what sacreBLEU makes of them, alone and together.

Usage: python scripts/golden/sacrebleu_scores.py   (pip install sacrebleu==2.6.0)
"""
import json
from pathlib import Path

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF, TER

OUT = Path(__file__).parents[2] / "test/golden/sacrebleu/scores.json"

# Hypothesis, two references: punctuation, numbers, case, letters of other scripts, markup, an empty text, a text of one word.
TEXTS = [
    ["The old ferry leaves at nine.", "The old ferry leaves at nine.", "At nine o'clock, the old ferry leaves."],
    ["a red kite was seen above our hill", "We saw a red kite above the hill.", "Above our hill, a red kite was seen."],
    ["The price rose from 1,250.50 to 1,300 (about 4%).", "From 1,250.50 the price rose to 1,300 (around 4%).", "It cost 1,300, up 4% from 1,250.50."],
    ["Der Zug nach Gießen hält heute nicht in Köln.", "Heute hält der Zug nach Gießen nicht in Köln.", "Der Zug hält heute nicht."],
    ["Rain , rain & more \"rain\" !", "Rain, rain &amp; more &quot;rain&quot;!", "There was rain, and then more rain."],
    ["昨日は雨でした。 今日は晴れです。", "昨日は雨だった。今日は晴れだ。", "昨日は雨でした。今日も雨です。"],
    ["state-of-the-art e-bikes don't need 3-4 gears", "State-of-the-art e-bikes do not need 3 - 4 gears.", "e-bikes don't need gears"],
    ["", "Nothing was written here.", "Silence."],
    ["Yes", "Yes.", "No, thank you."],
    ["the the the the the the", "the cat is on the mat", "there is a cat on the mat"],
    ["on the mat a cat is sitting, and it looks at a mouse", "a cat is sitting on the mat, and it looks at a mouse", "a mouse looks at a cat on the mat"],
    ["Привет, мир! Как дела?", "Привет, мир. Как твои дела?", "Здравствуй, мир!"],
    ["cost: 5€ — 10 £; half-price «now»…", "cost: 5 € – 10 £; half price “now”...", "It costs 5€."],
    ["She plays two songs on her small violin 🎻", "She is playing a song on the small violin 🎻", "With a small violin she played songs"],
]
BLEUS = {
    "default": {},
    "lowercase": {"lowercase": True},
    "none": {"tokenize": "none"},
    "intl": {"tokenize": "intl"},
    "char": {"tokenize": "char"},
    "floor": {"smooth_method": "floor"},
    "add-k": {"smooth_method": "add-k"},
    "no smoothing": {"smooth_method": "none"},
}


def bleu(score):
    return {"score": score.score, "counts": score.counts, "totals": score.totals, "precisions": score.precisions, "bp": score.bp, "sys_len": score.sys_len, "ref_len": score.ref_len}


def scores(hypotheses, references, sentence):
    """`references`: for each hypothesis a list."""
    streams = [list(stream) for stream in zip(*references)]
    return {
        "bleu": {name: bleu(BLEU(effective_order=sentence, **options).corpus_score(hypotheses, streams)) for name, options in BLEUS.items()},
        "chrf": CHRF().corpus_score(hypotheses, streams).score,
        "chrf++": CHRF(word_order=2).corpus_score(hypotheses, streams).score,
        "ter": TER().corpus_score(hypotheses, streams).score,
    }


def entry(hypotheses, references, sentence):
    return {"hypotheses": hypotheses, "references": references, "sentence": sentence, **scores(hypotheses, references, sentence)}


hypotheses = [text[0] for text in TEXTS]
both = [text[1:] for text in TEXTS]
cases = [entry([hypothesis], [references], True) for hypothesis, references in zip(hypotheses, both)]
cases.append(entry(hypotheses, both, False))
cases.append(entry(hypotheses, [references[:1] for references in both], False))
cases.append(entry(hypotheses[::-1], [references[::-1] for references in both[::-1]], False))
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps({"version": sacrebleu.__version__, "cases": cases}, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
