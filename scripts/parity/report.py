"""The table of a comparison, in a Markdown page."""
import datetime
import re

BEGIN, END = "<!-- parity: begin -->", "<!-- parity: end -->"


def largest(numbers, name):
    found = [float(value) for text in numbers for value in re.findall(name + r" ([\d.]+e[+-]\d+)", text)]
    return f"{max(found):.1e}" if found else ""


def write_table(page, lines, versions, device, arguments):
    """One row for each comparison, with the largest difference over all models."""
    groups = {}
    for what, model, method, numbers, good in lines:
        groups.setdefault((what, method), []).append((model, numbers, good))
    table = ["| compared | adapter | models | logits | loss | gradient norm |", "|---|---|---|---:|---:|---:|"]
    for (what, method), entries in groups.items():
        numbers = [text for _, text, _ in entries]
        bad = [model for model, _, good in entries if not good]
        agree = f"{len(entries) - len(bad)} of {len(entries)}" + (f" (not {', '.join(bad)})" if bad else "")
        table.append(f"| {what} | {method} | {agree} | {largest(numbers, 'logits')} | {largest(numbers, 'loss')} | {largest(numbers, 'gradient norm')} |")
    head = f"{datetime.date.today()}, seed {arguments.seed}, {device.split(' (')[0]}, models: {arguments.models.replace(',', ', ')}. " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    text = "\n".join([BEGIN, head, "", *table, END])
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: text, page.read_text(), flags=re.S))
