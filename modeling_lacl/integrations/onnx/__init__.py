"""Models as ONNX graphs: `export_onnx` writes them, `LaclOnnxModel` runs them with ONNX Runtime."""

from .export import export_onnx
from .runner import LaclOnnxModel

__all__ = ["LaclOnnxModel", "export_onnx"]
