"""Entity scores as an `evaluate.Metric`, defined here so that nothing is downloaded at run time.

The class is separate from `metrics`, which training imports, so that training does not import the library
`evaluate`: a script next to a file `evaluate.py` would import that file instead.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .metrics import entity_scores, length_scores

_CITATION = """\
@misc{seqeval,
  title={{seqeval}: A Python framework for sequence labeling evaluation},
  url={https://github.com/chakki-works/seqeval},
  author={Hiroki Nakayama},
  year={2018},
}"""

_INPUTS = """
Args:
    predictions: Predicted BIO tags, one list of strings per sentence.
    references: Gold BIO tags, of the same shape.
    per_length: Whether to return scores by entity length in words, too. Defaults to False.
Returns:
    overall_precision, overall_recall, overall_f1 (micro), overall_number (entities in the references), and
    for each entity type a dict of precision, recall, f1, number. With per_length, also a dict `per_length`
    of such dicts, with the keys "1", "2", … and "5+".
"""


class SeqevalMetric(evaluate.Metric):
    """Micro and per-type precision, recall and F1 of BIO tags, with the keys of the Hub's `seqeval`.

    Behaves like `evaluate.load("seqeval")`, without network access:
    `SeqevalMetric().compute(references=…, predictions=…)`, or `add_batch` first. Inputs are kept in memory
    and no folder is created, unless several processes share one computation (`num_process > 1`) or
    `keep_in_memory=False`. In these cases they are written to `cache_dir`, by default the Hugging Face
    cache.
    """

    def __init__(
        self,
        config_name: str | None = None,
        keep_in_memory: bool | None = None,
        num_process: int = 1,
        **kwargs: Any,
    ) -> None:
        if keep_in_memory is None:
            keep_in_memory = num_process == 1
        super().__init__(config_name, keep_in_memory=keep_in_memory, num_process=num_process, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="Entity-level precision, recall and F1 of sequence labelling, counted by seqeval.",
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": tags, "references": tags}),
            reference_urls=["https://github.com/chakki-works/seqeval"],
        )

    def _build_data_dir(self) -> str:
        # evaluate creates the folder even if nothing is written, which fails in a read-only home.
        return "" if self.keep_in_memory else super()._build_data_dir()

    def _compute(
        self, *, predictions: list[list[str]], references: list[list[str]], per_length: bool = False
    ) -> dict[str, Any]:
        scores = entity_scores(references, predictions)
        overall = {f"overall_{key}": value for key, value in scores.items() if key != "per_type"}
        lengths = {"per_length": length_scores(references, predictions)} if per_length else {}
        return {**scores["per_type"], **overall, **lengths}
