"""Make a model for your own entity types from three labelled sentences."""

from modeling_lacl import LaclForTokenClassification, adapt

support = [
    {
        "tokens": ["Lena", "Voss", "flew", "a", "Boeing", "737"],
        "ner_tags": ["person", "person", "O", "O", "plane", "plane"],
    },
    {
        "tokens": ["The", "Piper", "Cub", "of", "Tom", "Hale"],
        "ner_tags": ["O", "plane", "plane", "O", "person", "person"],
    },
    {
        "tokens": ["They", "took", "an", "old", "Airbus", "A320"],
        "ner_tags": ["O", "O", "O", "O", "plane", "plane"],
    },
]
model = LaclForTokenClassification.from_pretrained("lacl-minilm-wide")
ner = adapt(model, support, label_names={"plane": "type of airplane"})

for entity in ner.predict("Ana Ruiz landed her Cessna 172 in the rain."):
    print(f"{entity['word']}: {entity['entity_group']}, {entity['score']:.2f}")
