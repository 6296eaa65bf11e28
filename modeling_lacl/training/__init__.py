"""The two stages of training: on a source corpus with many types, and on the support set of a target."""
