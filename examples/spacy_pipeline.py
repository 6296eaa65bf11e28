"""Use LACL as a component of a spaCy pipeline; needs the extra `spacy`: `pip install '.[demo,spacy]'`."""

import spacy

nlp = spacy.blank("en")  # or any pipeline of yours
nlp.add_pipe("lacl", config={"model": "lacl-minilm-wide", "labels": ["person", "city", "airplane"]})

for doc in nlp.pipe(["Ana Ruiz flew from Quito to Oslo in a Cessna 172.", "And Tom Hale back to Oslo."]):
    print([(ent.text, ent.label_) for ent in doc.ents])
