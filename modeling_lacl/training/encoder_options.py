"""Options of the encoder that hold while it trains, and are not saved with the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..model.modeling_lacl import LaclForTokenClassification
from .arguments import ModelArguments


@contextmanager
def encoder_options(model: LaclForTokenClassification, model_args: ModelArguments) -> Iterator[None]:
    """Set dropout, attention and frozen word embeddings of the encoder inside of the context.

    The configuration keeps the encoder's own values, so that what is saved meanwhile has them as well.

    Args:
        model: The model.
        model_args: The arguments, with `dropout`, `attention` and `freeze_embeddings`.

    Raises:
        ValueError: The encoder has no dropout, or its attention cannot be set.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification
        >>> from modeling_lacl.training.arguments import ModelArguments
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> with encoder_options(model, ModelArguments(freeze_embeddings=True)):
        ...     model.get_input_embeddings().weight.requires_grad
        False
    """
    encoder: Any = model.lacl.encoder
    rates = _dropout_rates(encoder) if model_args.dropout is not None else []
    if model_args.dropout and not rates:
        raise ValueError(f"dropout is set, and {type(encoder).__name__} has none; leave it out")
    attention = encoder.config._attn_implementation
    weights = list(encoder.get_input_embeddings().parameters()) if model_args.freeze_embeddings else []
    trained = [weight.requires_grad for weight in weights]
    if model_args.attention:
        if model.config.shared_prompt:
            raise ValueError("shared_prompt has an attention of its own; leave out attention")
        encoder.set_attn_implementation(model_args.attention)
    try:
        for module, name, _ in rates:
            setattr(module, name, model_args.dropout)
        for weight in weights:
            weight.requires_grad_(False)
        yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)
        for weight, train in zip(weights, trained, strict=True):
            weight.requires_grad_(train)
        if model_args.attention:
            encoder.set_attn_implementation(attention)


def _dropout_rates(encoder: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Return where an encoder has its dropout rates: in layers of their own, and as numbers of others."""
    found: list[tuple[nn.Module, str, float]] = []
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            found.append((module, "p", module.p))
        else:
            names = [name for name, value in vars(module).items() if isinstance(value, float)]
            found += [(module, name, getattr(module, name)) for name in names if "dropout" in name]
    return found
