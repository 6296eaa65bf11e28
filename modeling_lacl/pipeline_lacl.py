"""The Hugging Face pipelines: `few-shot-ner` around `prediction.predict`, and `token-classification`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from transformers import AutoModelForTokenClassification, Pipeline, TokenClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput

from .aggregation import STRATEGIES, aggregate
from .configuration_lacl import LaclConfig
from .prediction import predict
from .released import RELEASED, released_folder

TASK = "few-shot-ner"
STANDARD_TASK = "token-classification"


class _AllAtOnce(Pipeline):
    """Of a pipeline that is given all inputs of a call at once, where others go text by text.

    So texts can be sorted by length into batches.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = None  # loaded where there is one beside the model, else the model's own

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any) -> None:
        if tokenizer is None:
            tokenizer = model.tokenizer
        else:
            model.tokenizer = tokenizer  # label names given in a call are written in the same tokens
        super().__init__(model=model, tokenizer=tokenizer, **kwargs)

    def __call__(  # type: ignore[override]  # one signature for all kinds of input
        self, inputs: Any, *, num_workers: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """What the pipeline finds in one text, a list, or a stream.

        Args:
            inputs: As in [`prediction.predict`].
            num_workers: Taken as every pipeline does; there is no work for them.
            batch_size: Windows of text that go through the encoder at once.
            **kwargs: As in [`prediction.predict`] or, for `token-classification`, in
                [`aggregation.aggregate`]; they go before those of the constructor.
        """
        options = {**self._forward_params, **self._sanitize_parameters(**kwargs)[1]}
        batch_size = self._batch_size if batch_size is None else batch_size
        if batch_size is not None:
            options["batch_size"] = batch_size
        return self.postprocess(self.forward(self.preprocess(inputs), **options))

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> dict[str, Any]:
        return {"inputs": input_}

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        return model_outputs["entities"]


class LaclPipeline(_AllAtOnce):
    """Text in, entities out: `LaclPipeline(model)("Ana Ruiz flew to Quito.")`.

    Takes the inputs and the keyword arguments of [`prediction.predict`] and gives its results; keyword
    arguments of the constructor are defaults for every call. Where other pipelines go text by text, this one
    sorts texts by length into batches.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: Its fast tokenizer; by default the one that the model holds or was saved with.
        **kwargs: `device`, and defaults for `predict`'s arguments.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, task: str = TASK, **kwargs: Any) -> None:
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = set(kwargs) - {"is_split_into_words", "labels", "support", "threshold", "stride"}
        if unknown:
            raise TypeError(f"a LaclPipeline has no argument {', '.join(sorted(unknown))}")
        return {}, kwargs, {}

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> ModelOutput:
        model: Any = self.model
        tokenizer: Any = self.tokenizer
        return ModelOutput(entities=predict(model, tokenizer, input_tensors["inputs"], **forward_parameters))


class LaclTokenClassificationPipeline(_AllAtOnce, TokenClassificationPipeline):  # type: ignore[misc]
    """`pipeline("token-classification")` for LACL: with `aggregation_strategy="first"` as [`LaclPipeline`].

    Takes the arguments of the standard pipeline, and `labels`, `support` and `threshold`; what each strategy
    does stands at [`aggregation.aggregate`]. The standard pipeline takes what stands before the first hyphen
    of a label for a tag's prefix, and so makes "work" of "creative-work", writes `word` as the tokenizer
    does, and fails on a text longer than the encoder. Here a label stays whole, `text[start:end]` is the
    word, long text goes through windows (`stride` only says how far they overlap), and a score is a float.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: Its fast tokenizer; by default the one that the model holds or was saved with.
        **kwargs: `device`, and defaults for the arguments of a call: `aggregation_strategy`, `ignore_labels`,
            `is_split_into_words`, `delimiter`, `stride`, `labels`, `support` and `threshold`.
    """

    def __init__(
        self, model: Any, tokenizer: Any = None, *, task: str = STANDARD_TASK, **kwargs: Any
    ) -> None:
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(  # type: ignore[override]
        self, *, aggregation_strategy: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = {"ignore_labels", "is_split_into_words", "delimiter", "stride"}
        unknown = set(kwargs) - known - {"labels", "support", "threshold"}
        if unknown:
            raise TypeError(f"a {type(self).__name__} has no argument {', '.join(sorted(unknown))}")
        options = {name: value for name, value in kwargs.items() if value is not None}
        if aggregation_strategy is not None:
            # transformers' own `AggregationStrategy`, or its name in letters of any case.
            strategy = str(getattr(aggregation_strategy, "value", aggregation_strategy)).lower()
            if strategy not in STRATEGIES:
                raise ValueError(
                    f"aggregation_strategy is {aggregation_strategy!r}: give one of {', '.join(STRATEGIES)}"
                )
            options["aggregation_strategy"] = strategy
        return {}, options, {}

    def _forward(  # type: ignore[override]
        self, input_tensors: dict[str, Any], **forward_parameters: Any
    ) -> ModelOutput:
        model: Any = self.model
        tokenizer: Any = self.tokenizer
        return ModelOutput(
            entities=aggregate(model, tokenizer, input_tensors["inputs"], **forward_parameters)
        )

    def check_model_type(self, supported_models: Any) -> None:
        """The list of transformers' own models, which the standard pipeline holds against every other."""


def register() -> None:
    """Makes both pipelines known to `transformers.pipeline`.

    `pipeline("few-shot-ner", model=…)` builds a [`LaclPipeline`], of a released model if none is named.
    `pipeline("token-classification", model=…)` builds a [`LaclTokenClassificationPipeline`] for a LACL model,
    and for every other what it built before.
    """
    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=LaclPipeline,
            pt_model=AutoModelForTokenClassification,
            # transformers finds models by folders and on the Hub: this one's name would be asked for there.
            default={"model": (str(released_folder(RELEASED[0])), "main")},
            type="text",
        )
    _, standard, _ = PIPELINE_REGISTRY.check_task(STANDARD_TASK)
    if not hasattr(standard["impl"], "of_other_models"):
        by_model = _by_model(standard["impl"])
        PIPELINE_REGISTRY.supported_tasks[STANDARD_TASK] = {**standard, "impl": by_model}


def _by_model(others: Any) -> type:
    """What builds LACL's pipeline for a LACL model, and `others`, a class or its dotted name, for another."""
    if isinstance(others, str):
        module, _, name = others.rpartition(".")
        others = getattr(import_module(module), name)

    class ByModel(others):
        of_other_models = others

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            config = getattr(kwargs.get("model"), "config", None)
            is_lacl = getattr(config, "model_type", None) == LaclConfig.model_type
            return (LaclTokenClassificationPipeline if is_lacl else others)(*args, **kwargs)

    return ByModel
