"""Integration of LACL into other tools: spaCy pipelines, ONNX Runtime and Ray Data."""
