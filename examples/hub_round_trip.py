"""Upload a model to the Hub and load it again.

Log in with `hf auth login`, then run `python examples/hub_round_trip.py OWNER/NAME`.

Loading it needs transformers only: the checkpoint contains the remote code.
"""

import sys

from transformers import AutoModelForTokenClassification

from modeling_lacl import LaclForTokenClassification, adapt

support = [
    {"tokens": ["Lena", "Voss", "lives", "in", "Oslo"], "ner_tags": ["person", "person", "O", "O", "city"]},
    {"tokens": ["Tom", "Hale", "went", "to", "Lima"], "ner_tags": ["person", "person", "O", "O", "city"]},
]
repository = sys.argv[1]
model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
ner = adapt(model, support)
ner.push_to_hub(repository, private=True)

loaded = AutoModelForTokenClassification.from_pretrained(repository, trust_remote_code=True)
for entity in loaded.predict("Ana Ruiz flew to Quito."):
    print(f"{entity['word']}: {entity['entity_group']}")
