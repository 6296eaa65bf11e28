"""Models as ONNX graphs: `export_onnx` writes them, `LaclOnnxModel` runs them with ONNX Runtime.

Running one needs neither torch nor transformers, which `export_onnx` therefore loads only when it is used.
"""

from typing import TYPE_CHECKING, Any

from .runner import LaclOnnxModel

if TYPE_CHECKING:
    from .export import export_onnx

__all__ = ["LaclOnnxModel", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name == "export_onnx":
        from .export import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
