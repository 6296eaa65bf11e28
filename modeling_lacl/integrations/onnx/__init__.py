"""Models as ONNX graphs: `export_onnx` writes them, `LaclOnnxModel` runs them by ONNX Runtime."""

from .export import export_onnx
from .runner import LaclOnnxModel

__all__ = ["LaclOnnxModel", "export_onnx"]
