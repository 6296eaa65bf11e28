r"""Tag a corpus of any size as a stream, in constant memory.

    python examples/tag_many.py texts.txt entities.jsonl

The command line does the same, and after an interruption resumes. With `--engine ray` behind it, all cores,
GPUs and machines of a Ray cluster work together:

    lacl predict lacl-minilm-wide texts.txt --labels person,city --output entities.jsonl --resume
"""

import json
import sys
from itertools import tee

from datasets import load_dataset

from modeling_lacl import LaclForTokenClassification

source, target = sys.argv[1:]
# One text per line. Any stream of `datasets` works: Parquet, CSV, a corpus on the Hub.
corpus = load_dataset("text", data_files=source, split="train", streaming=True)

model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
texts, waiting = tee(row["text"] for row in corpus)
count = 0
with open(target, "w", encoding="utf-8") as file:
    # Given a generator, `predict` returns one. It reads ahead by one buffer of texts, which it sorts by
    # length; only these texts are held in memory.
    found = model.predict(texts, labels=["person", "city"], batch_size=64)
    for text, entities in zip(waiting, found, strict=True):
        file.write(json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n")
        count += len(entities)
print(f"{count} entities")
