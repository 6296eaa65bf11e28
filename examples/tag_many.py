"""A corpus of any size as a stream: texts come in and entities go out, and little is in memory at a time.

The command `lacl predict` does the same for a file, on several processes too.
"""

import json
from collections.abc import Iterator

from modeling_lacl import LaclForTokenClassification


def texts(number: int) -> Iterator[str]:
    """Stands for a file, a data base or a `datasets` stream: `(row["text"] for row in dataset)`."""
    for index in range(number):
        yield f"Flight {index} took Ana Ruiz from Quito to Oslo."


model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
found = 0
with open("entities.jsonl", "w", encoding="utf-8") as file:
    # Given a generator, `predict` answers with one. It reads ahead as far as it sorts texts by length.
    for entities in model.predict(texts(300), labels=["person", "city"], batch_size=64):
        file.write(json.dumps(entities) + "\n")
        found += len(entities)
print(f"{found} entities")
