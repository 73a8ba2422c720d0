#!/usr/bin/python3
"""Writes cases.json: texts made for this test, and what metrics are of them by this program.

It was written from the published formulas, apart from the implementation under test and with none of its shortcuts: counts are
fractions, subsequences are searched for recursively, the fewest edits of TER by trying all orders of moves. The texts keep
clear of what the formulas leave open: METEOR is left out where a word stands twice in a text, stems are a list made by hand, no text
is shorter than the longest n-gram of BLEU, and the fewest edits are found by the greedy search of the usual programs too.
Usage: python3 generate.py > cases.json
"""
import json
import math
import re
import sys
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np

SEGMENTS = [
    ("The old ferry leaves at nine.", ["The old ferry leaves at nine.", "At nine, the ferry leaves."]),
    ("A red kite was seen above our hill", ["We saw a red kite above the hill.", "Above our hill a red kite was seen."]),
    ("Rain, rain and more rain!", ["Rain all day long.", "There was rain, and then more rain."]),
    ("She plays two songs on her small violin", ["She is playing a song on the small violin", "With a small violin she played songs"]),
    ("nothing here fits well", ["Quite another matter, this.", "No word of it."]),
    ("Der Zug nach Gießen hält heute nicht in Köln.", ["Heute hält der Zug nach Gießen nicht in Köln.", "Der Zug hält heute nicht."]),
    ("cheap food near the river", ["near the river there is cheap food for families", "cheap food by the river"]),
    ("The shop closes at five on Friday , not at six .", ["The shop closes at six on Friday, not at five.", "On Friday the shop closes at five."]),
]
STEMS = {"plays": "play", "playing": "play", "played": "play", "songs": "song", "families": "famili"}

LABELS = "a a a b b b b c c a b c a d c b".split()
FOUND = "a b a b b a b c a a b b ? d c c".split()
CONFIDENCES = [0.95, 0.55, 0.81, 0.33, 0.62, 0.97, 0.2, 0.48, 0.71, 0.88]
RIGHT = [1, 0, 1, 1, 0, 1, 0, 0, 1, 0]


def grams(items, n):
    return Counter(tuple(items[i:i + n]) for i in range(len(items) - n + 1))


def tokens_13a(text):
    return re.sub(r"([.,!?])", r" \1 ", text).split()


def words(text):
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def plain(text):
    return re.sub(r"[.,!?]", " ", text.lower()).split()


def clipped(hyp, refs, n):
    return sum(min(count, max(grams(ref, n)[gram] for ref in refs)) for gram, count in grams(hyp, n).items())


def closest(length, refs):
    return min((len(ref) for ref in refs), key=lambda other: (abs(other - length), other))


def bleu_parts(pairs, split):
    hyps = [split(hyp) for hyp, _ in pairs]
    refs = [[split(ref) for ref in group] for _, group in pairs]
    hits = [sum(clipped(h, r, n) for h, r in zip(hyps, refs)) for n in (1, 2, 3, 4)]
    totals = [sum(max(0, len(h) - n + 1) for h in hyps) for n in (1, 2, 3, 4)]
    length = sum(map(len, hyps))
    wanted = sum(closest(len(h), r) for h, r in zip(hyps, refs))
    return hits, totals, min(1.0, math.exp(1 - wanted / length))


def bleu(pairs, split=tokens_13a):
    hits, totals, penalty = bleu_parts(pairs, split)
    return penalty * math.prod(h / t for h, t in zip(hits, totals)) ** 0.25


def nist(pairs):
    split = lambda text: tokens_13a(text.lower())
    refs = [[split(ref) for ref in group] for _, group in pairs]
    everything = [ref for group in refs for ref in group]
    size = sum(map(len, everything))
    def count(gram):
        return sum(grams(ref, len(gram))[gram] for ref in everything) if gram else size
    score = 0.0
    for n in range(1, 6):
        told, candidates = 0.0, 0
        for (hyp, _), group in zip(pairs, refs):
            found = grams(split(hyp), n)
            candidates += len(split(hyp)) - n + 1
            for gram, times in found.items():
                told += min(times, max(grams(ref, n)[gram] for ref in group)) * (math.log2(count(gram[:-1]) / count(gram)) if count(gram) else 0)
        score += told / candidates
    ratio = sum(len(split(hyp)) for hyp, _ in pairs) / sum(sum(map(len, group)) / len(group) for group in refs)
    # ½ at two thirds of the length.
    return score * math.exp(math.log(0.5) * (math.log(min(1, ratio)) / math.log(2 / 3)) ** 2)


def chrf_counts(hyp, ref, word_order):
    def rows(text):
        letters = re.sub(r"\s", "", text)
        parts = [p for word in text.split() for p in ([word] if len(word) == 1 else re.sub(r"([.,!?])$", r" \1", word).split())]
        return [grams(letters, n) for n in range(1, 7)] + [grams(parts, n) for n in range(1, word_order + 1)]
    return [(sum(h.values()) if r else 0, sum(r.values()), sum((h & r).values())) for h, r in zip(rows(hyp), rows(ref))]


def f_of(counts, beta=2):
    used = [c for c in counts if c[0] and c[1]]
    p = sum(Fraction(m, h) for h, _, m in used) / len(used)
    r = sum(Fraction(m, w) for _, w, m in used) / len(used)
    return (1 + beta ** 2) * p * r / (beta ** 2 * p + r) if p + r else Fraction(0)


def chrf(pairs, word_order=0):
    best = [max((chrf_counts(hyp, ref, word_order) for ref in group), key=f_of) for hyp, group in pairs]
    return 100 * float(f_of([tuple(map(sum, zip(*order))) for order in zip(*best)]))


def edit_distance(a, b):
    @lru_cache(None)
    def d(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1]))
    return d(len(a), len(b))


def fewest_edits(hyp, ref):
    """Moves of phrases that stand in the reference, up to two of them, tried in every order; then single edits."""
    phrases = {tuple(ref[i:j]) for i, j in combinations(range(len(ref) + 1), 2)}
    best, seen, edge = edit_distance(hyp, ref), {hyp}, [hyp]
    for moves in (1, 2):
        reached = []
        for text in edge:
            for i, j in combinations(range(len(text) + 1), 2):
                if text[i:j] not in phrases:
                    continue
                rest = text[:i] + text[j:]
                for k in range(len(rest) + 1):
                    moved = rest[:k] + text[i:j] + rest[k:]
                    if moved not in seen:
                        seen.add(moved)
                        reached.append(moved)
                        best = min(best, moves + edit_distance(moved, ref))
        edge = reached
    return best


def ter(pairs):
    split = lambda text: tuple(text.lower().split())
    edits = sum(min(fewest_edits(split(hyp), split(ref)) for ref in group) for hyp, group in pairs)
    return float(100 * Fraction(edits) / sum(Fraction(sum(len(split(ref)) for ref in group), len(group)) for _, group in pairs))


def lcs(a, b):
    @lru_cache(None)
    def longest(i, j):
        if i == len(a) or j == len(b):
            return 0
        return 1 + longest(i + 1, j + 1) if a[i] == b[j] else max(longest(i + 1, j), longest(i, j + 1))
    return longest(0, 0)


def f1(shared, found, wanted):
    return Fraction(2 * shared, found + wanted) if shared else Fraction(0)


def rouge(kind, hyp, group):
    scores = []
    for ref in group:
        h, r = words(hyp), words(ref)
        if kind == "L":
            scores.append(f1(lcs(tuple(h), tuple(r)), len(h), len(r)))
        else:
            a, b = grams(h, kind), grams(r, kind)
            scores.append(f1(sum((a & b).values()), sum(a.values()), sum(b.values())))
    return float(max(scores))


def coco_rouge(hyp, group):
    h = tuple(plain(hyp))
    refs = [tuple(plain(ref)) for ref in group]
    p, r = max(lcs(h, ref) / len(h) for ref in refs), max(lcs(h, ref) / len(ref) for ref in refs)
    return (1 + 1.44) * p * r / (r + 1.44 * p) if p and r else 0.0


def cider(pairs):
    groups = [[plain(ref) for ref in group] for _, group in pairs]
    def weights(text, n):
        found = grams(text, n)
        return {g: c * math.log(len(pairs) / max(1, sum(any(grams(ref, n)[g] for ref in group) for group in groups))) for g, c in found.items()}
    scores = []
    for (hyp, _), group in zip(pairs, groups):
        h, total = plain(hyp), 0.0
        for ref in group:
            for n in (1, 2, 3, 4):
                a, b = weights(h, n), weights(ref, n)
                size = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
                if size:
                    total += sum(min(v, b[g]) * b[g] for g, v in a.items() if g in b) / size * math.exp(-((len(h) - len(ref)) ** 2) / 72)
        scores.append(10 * total / 4 / len(group))
    return scores


def meteor(hyp, group):
    best = 0.0
    h = plain(hyp)
    for r in map(plain, group):
        if len(set(h)) < len(h) or len(set(r)) < len(r):
            return None
        stem = lambda word: STEMS.get(word, word)
        pairs = [(i, r.index(word)) for i, word in enumerate(h) if word in r]
        left = [j for j in range(len(r)) if j not in dict(map(reversed, pairs))]
        pairs += [(i, j) for i, word in enumerate(h) if word not in r for j in left if stem(word) == stem(r[j])]
        pairs.sort()
        if pairs:
            runs = 1 + sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in zip(pairs, pairs[1:]))
            p, q = len(pairs) / len(h), len(pairs) / len(r)
            best = max(best, p * q / (0.9 * p + 0.1 * q) * (1 - 0.5 * (runs / len(pairs)) ** 3))
    return best


def classes():
    names = sorted(set(LABELS) | set(FOUND) - {"?"})
    each = {}
    for name in names:
        both = sum(f == t == name for f, t in zip(FOUND, LABELS))
        precision, recall = Fraction(both, max(1, FOUND.count(name))), Fraction(both, max(1, LABELS.count(name)))
        each[name] = float(2 * precision * recall / (precision + recall)) if both else 0.0
    # Matthews' correlation as the covariance of indicators, the unread answer being a class of its own.
    x, y = (np.array([[v == name for name in names + ["?"]] for v in side], float) for side in (FOUND, LABELS))
    cov = lambda a, b: float(((a - a.mean(0)) * (b - b.mean(0))).sum())
    bins = [[k for k, c in enumerate(CONFIDENCES) if low < c <= low + 0.25] for low in (0, 0.25, 0.5, 0.75)]
    ece = sum(len(b) / len(RIGHT) * abs(np.mean([RIGHT[k] for k in b]) - np.mean([CONFIDENCES[k] for k in b])) for b in bins if b)
    return {"labels": LABELS, "found": FOUND, "f1": each, "macro_f1": sum(each.values()) / len(each), "matthews": cov(x, y) / math.sqrt(cov(x, x) * cov(y, y)),
            "confidences": CONFIDENCES, "right": RIGHT, "calibration_error_4_bins": float(ece)}


def main():
    lower = lambda text: tokens_13a(text.lower())
    json.dump({
        "segments": [{
            "hypothesis": hyp, "references": group, "ter": ter([(hyp, group)]), "chrf": chrf([(hyp, group)]),
            "rouge1": rouge(1, hyp, group), "rouge2": rouge(2, hyp, group), "rougeL": rouge("L", hyp, group),
            "coco_rougeL": coco_rouge(hyp, group), "cider": score, "meteor": meteor(hyp, group),
        } for (hyp, group), score in zip(SEGMENTS, cider(SEGMENTS))],
        "corpus": {"bleu": 100 * bleu(SEGMENTS), "e2e_bleu": bleu(SEGMENTS, lower), "e2e_nist": nist(SEGMENTS), "chrf": chrf(SEGMENTS), "chrf++": chrf(SEGMENTS, 2), "ter": ter(SEGMENTS)},
        "classes": classes(),
    }, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
