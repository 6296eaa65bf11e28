"""Support sets from three kinds of files that people have: a CSV table, character spans, BIO columns."""

import csv
import json
from pathlib import Path

from modeling_lacl import read_dataset

# A table with a word and its tag a row, and the number of the sentence; any other shape is as short to read.
Path("words.csv").write_text("sentence,word,tag\n1,Lena,person\n1,sailed,O\n2,The,O\n2,Vasa,ship\n2,sank,O\n")
sentences: dict[str, dict[str, list[str]]] = {}
with open("words.csv", newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        sentence = sentences.setdefault(row["sentence"], {"tokens": [], "ner_tags": []})
        sentence["tokens"].append(row["word"])
        sentence["ner_tags"].append(row["tag"])
from_csv = read_dataset(list(sentences.values()))

# Character spans, as annotation tools export them: one JSON object a line.
span = {"text": "Lena sailed on the Vasa.", "entities": [{"start": 19, "end": 23, "label": "ship"}]}
Path("spans.jsonl").write_text(json.dumps(span) + "\n")
from_spans = read_dataset("spans.jsonl")

# Columns, as in CoNLL: any tag scheme, tabs or spaces, further columns between.
Path("columns.txt").write_text("The O\nVasa B-ship\nsank O\n\nLena B-person\nsailed O\n")
from_columns = read_dataset("columns.txt")

# All are a `datasets.Dataset` with the same two columns. `adapt` takes these, and the files themselves.
for dataset in (from_csv, from_spans, from_columns):
    names = dataset.features["ner_tags"].feature.names
    for row in dataset:
        print(
            " ".join(f"{word}/{names[tag]}" for word, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        )
