"""Add a type to an adapted model and remove another: without training, in the time of one forward pass."""

from modeling_lacl import LaclForTokenClassification, adapt, add_types, remove_types

support = [
    {"tokens": ["Lena", "Voss", "lives", "in", "Oslo"], "ner_tags": ["person", "person", "O", "O", "city"]},
    {"tokens": ["Tom", "Hale", "went", "to", "Lima"], "ner_tags": ["person", "person", "O", "O", "city"]},
]
model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
ner = adapt(model, support)

more = [{"tokens": ["She", "flew", "a", "Boeing", "737"], "ner_tags": ["O", "O", "O", "plane", "plane"]}]
ner = add_types(ner, more, label_names={"plane": "type of airplane"})
print(ner.entity_types)  # ['person', 'city', 'plane']
text = "Ana Ruiz flew a Cessna 172 to Quito."
print([(entity["word"], entity["entity_group"]) for entity in ner.predict(text)])

ner = remove_types(ner, ["person"])
print([(entity["word"], entity["entity_group"]) for entity in ner.predict(text)])
