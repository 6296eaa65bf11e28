"""Integration of LACL into other tools: spaCy pipelines and ONNX Runtime."""
