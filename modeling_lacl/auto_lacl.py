"""The one file by which transformers loads a checkpoint's own code, where this package is not installed.

`auto_map` and `custom_pipelines` in `config.json` name classes in this file, and it names every other file of
the code. So transformers copies all of them together, keys its copy by the contents of all of them, and gives
configuration, models and pipelines that belong together, also for checkpoints of two versions in one process.
"""

from .aggregation import aggregate
from .checkpoint import SelfContainedModel
from .checks import whole_number
from .configuration_lacl import LaclConfig
from .decoding import label_runs
from .divergences import pairwise_divergence
from .encoder import resolve_encoder
from .errors import LaclDataError
from .evaluating import evaluating
from .gathering import WholeBatch
from .given_support import with_support
from .label_set import LabelSetMixin
from .length_groups import length_groups
from .losses import context_label_loss
from .modeling_lacl import LaclForTokenClassification, LaclModel
from .outputs_lacl import LaclOutput
from .pipeline_lacl import LaclPipeline, LaclTokenClassificationPipeline
from .positions import longest_row
from .prediction import predict
from .projection import GaussianProjection
from .prompts import build_prompt
from .records import read_record
from .released import RELEASED
from .rows import make_rows
from .schemes import normalize
from .sentences import Sentence
from .shared_prompt import share_prompt
from .tag_table import TagTable
from .words import split_words

__all__ = [
    "RELEASED",
    "GaussianProjection",
    "LabelSetMixin",
    "LaclConfig",
    "LaclDataError",
    "LaclForTokenClassification",
    "LaclModel",
    "LaclOutput",
    "LaclPipeline",
    "LaclTokenClassificationPipeline",
    "SelfContainedModel",
    "Sentence",
    "TagTable",
    "WholeBatch",
    "aggregate",
    "build_prompt",
    "context_label_loss",
    "evaluating",
    "label_runs",
    "length_groups",
    "longest_row",
    "make_rows",
    "normalize",
    "pairwise_divergence",
    "predict",
    "read_record",
    "resolve_encoder",
    "share_prompt",
    "split_words",
    "whole_number",
    "with_support",
]
