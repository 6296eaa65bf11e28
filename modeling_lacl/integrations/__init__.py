"""LACL inside of other tools: spaCy pipelines, and ONNX Runtime."""
