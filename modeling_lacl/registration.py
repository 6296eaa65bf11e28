"""Makes the model known to transformers' Auto classes and pipelines; importing this module does it, once."""

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

from .configuration_lacl import LaclConfig
from .modeling_lacl import LaclForTokenClassification, LaclModel
from .pipeline_lacl import register

AutoConfig.register("lacl", LaclConfig)
AutoModel.register(LaclConfig, LaclModel)
AutoModelForTokenClassification.register(LaclConfig, LaclForTokenClassification)
register()
