"""The two training stages: on a source corpus with many entity types, and on the support set of a target."""
