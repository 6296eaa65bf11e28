"""Adapt to your own labelled data, in common formats: a CSV table, character spans, BIO columns.

The three files contain the same two sentences, so they give the same model.
"""

import csv
import json
from itertools import groupby
from pathlib import Path

from modeling_lacl import LaclForTokenClassification, adapt

# A table with one word per row, its tag, and the number of its sentence. Tables come in many layouts: convert
# yours to a list of dictionaries. Tags need no prefix. (`Dataset.from_csv` and pandas work equally well.)
words = "1,Lena,person 1,Voss,person 1,sailed,O 1,on,O 1,the,O 1,Vasa,ship 2,The,O 2,Cutty,ship 2,Sark,ship"
Path("words.csv").write_text("\n".join(["sentence,word,tag", *words.split(), "2,sank,O"]) + "\n")
from_csv = []
with open("words.csv", newline="", encoding="utf-8") as file:
    for _, group in groupby(csv.DictReader(file), key=lambda row: row["sentence"]):
        rows = list(group)
        from_csv.append({"tokens": [row["word"] for row in rows], "ner_tags": [row["tag"] for row in rows]})

# Character spans, as annotation tools export them: JSON Lines with a text and its entities.
spans = [
    ("Lena Voss sailed on the Vasa", [(0, 9, "person"), (24, 28, "ship")]),
    ("The Cutty Sark sank", [(4, 14, "ship")]),
]
with open("spans.jsonl", "w", encoding="utf-8") as file:
    for text, found in spans:
        entities = [{"start": start, "end": end, "label": label} for start, end, label in found]
        file.write(json.dumps({"text": text, "entities": entities}) + "\n")

# Columns, as in CoNLL, with a blank line between sentences: any tag scheme, separated by tabs or spaces.
# Further columns are allowed.
columns = "Lena B-person\nVoss I-person\nsailed O\non O\nthe O\nVasa B-ship\n\n"
Path("columns.txt").write_text(columns + "The O\nCutty B-ship\nSark I-ship\nsank O\n")

model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
for support in (from_csv, "spans.jsonl", "columns.txt"):
    ner = adapt(model, support)
    predicted = ner.predict("Ana Ruiz went down with the Titanic.")
    print([(entity["word"], entity["entity_group"], round(entity["score"], 3)) for entity in predicted])
