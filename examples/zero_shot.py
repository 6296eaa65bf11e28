"""Find entities from label names alone, through the pipeline of transformers."""

from transformers import pipeline

from modeling_lacl import LaclForTokenClassification

model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
ner = pipeline("few-shot-ner", model=model)

text = "Ana Ruiz flew from Quito to the Berlin Marathon, which Siemens sponsors."
for entity in ner(text, labels=["person", "city", "company", "sports event"]):
    print(f"{entity['word']}: {entity['entity_group']}")

# A label can have a label name that differs from it; the label name is what the model reads.
print(ner(text, labels={"GPE": "country or city"}))
