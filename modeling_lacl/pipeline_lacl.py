"""`pipeline("few-shot-ner")`: the Hugging Face pipeline around `prediction.predict`."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForTokenClassification, Pipeline, TokenClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput

from .prediction import predict

TASK = "few-shot-ner"


class LaclPipeline(Pipeline):
    """Text in, entities out: `LaclPipeline(model)("Ana Ruiz flew to Quito.")`.

    Takes the inputs and the keyword arguments of [`prediction.predict`] and gives its results; keyword
    arguments of the constructor are defaults for every call. Where other pipelines go text by text, this one
    sorts texts by length into batches.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: Its fast tokenizer; by default the one that the model holds or was saved with.
        **kwargs: `device`, and defaults for `predict`'s arguments.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = None  # loaded where there is one beside the model, else the model's own

    def __init__(self, model: Any, tokenizer: Any = None, *, task: str = TASK, **kwargs: Any) -> None:
        if tokenizer is None:
            tokenizer = model.tokenizer
        else:
            model.tokenizer = tokenizer  # label names given in a call are written in the same tokens
        super().__init__(model=model, tokenizer=tokenizer, task=task, **kwargs)

    def __call__(
        self, inputs: Any, *args: Any, num_workers: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Entities of one text, a list, or a stream; arguments and results as in [`prediction.predict`]."""
        if args or num_workers is not None:
            raise TypeError(
                "a LaclPipeline takes the inputs and keyword arguments of predict, and no num_workers"
            )
        options = {**self._forward_params, **self._sanitize_parameters(**kwargs)[1]}
        batch_size = self._batch_size if batch_size is None else batch_size
        if batch_size is not None:
            options["batch_size"] = batch_size
        return self.run_single(inputs, {}, options, {})

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = set(kwargs) - {"is_split_into_words", "labels", "threshold", "stride"}
        if unknown:
            raise TypeError(f"a LaclPipeline has no argument {', '.join(sorted(unknown))}")
        return {}, kwargs, {}

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> dict[str, Any]:
        return {"inputs": input_}

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> ModelOutput:
        model: Any = self.model
        tokenizer: Any = self.tokenizer
        return ModelOutput(entities=predict(model, tokenizer, input_tensors["inputs"], **forward_parameters))

    def postprocess(self, model_outputs: ModelOutput, **postprocess_parameters: Any) -> Any:
        return model_outputs["entities"]


class LaclTokenClassificationPipeline(TokenClassificationPipeline):
    """`pipeline("token-classification")` for LACL: with `aggregation_strategy="first"` as [`LaclPipeline`].

    The standard pipeline takes what stands before the first hyphen of a label for a tag's prefix, and so
    makes "work" of "creative-work"; here a label stays whole under every strategy. By "first", words are
    those of [`prediction.predict`], `word` is as it stands in the text, and long text goes through windows.
    """


def register() -> None:
    """Makes `transformers.pipeline("few-shot-ner", model=…)` build a [`LaclPipeline`]."""
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=LaclPipeline, pt_model=AutoModelForTokenClassification, type="text"
        )
