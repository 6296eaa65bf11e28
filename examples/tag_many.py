r"""A corpus of any size as a stream: texts come in, entities go out, and little is in memory at a time.

    python examples/tag_many.py texts.txt entities.jsonl

The command does the same, on several processes too (`--multi_gpu` is accelerate's word for that, with GPUs or
without). Given again after a kill, it goes on where it was:

    accelerate launch --multi_gpu --num_processes 2 --no_python lacl predict lacl-minilm-fewnerd texts.txt \
        --labels person,city --output entities.jsonl
"""

import json
import sys
from itertools import tee

from datasets import load_dataset

from modeling_lacl import LaclForTokenClassification

source, target = sys.argv[1:]
# One text a line. Any stream of `datasets` will do: Parquet, CSV, a corpus on the Hub.
corpus = load_dataset("text", data_files=source, split="train", streaming=True)

model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
texts, waiting = tee(row["text"] for row in corpus)
count = 0
with open(target, "w", encoding="utf-8") as file:
    # Given a generator, `predict` answers with one. It reads ahead as far as it sorts texts by length; the
    # texts that wait for their entities are all that is held.
    found = model.predict(texts, labels=["person", "city"], batch_size=64)
    for text, entities in zip(waiting, found, strict=True):
        file.write(json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n")
        count += len(entities)
print(f"{count} entities")
