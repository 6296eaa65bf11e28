"""The Hub's rules for the metadata of a card, as far as they are public and can be checked without it."""

import re

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id
from transformers.pipelines import SUPPORTED_TASKS

LICENSES = set(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda "
    "cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 "
    "etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c "
    "ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl "
    "unknown other".split()
)
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]+)?|multilingual|code")
LISTS = ("language", "license", "tags", "datasets", "metrics", "base_model")
"""Keys whose value is a text or a list of texts."""


def card_errors(text):
    """What the Hub would not take in a card's metadata, one message each."""
    try:
        ModelCard(text)
    except Exception as error:  # of YAML, and of the client's own reading of `model-index`
        return [f"the metadata cannot be read: {error}"]
    # As they stand there: the client turns them into its own form.
    block = REGEX_YAML_BLOCK.search(text)
    found = yaml.safe_load(block[2]) if block else {}
    errors = []
    for key in LISTS:
        values = found.get(key, [])
        values = values if isinstance(values, list) else [values]
        if not all(isinstance(value, str) for value in values):
            errors.append(f'"{key}" must be a string or a list of strings')
            continue
        for value in values:
            errors += _value_errors(key, value)
    if not isinstance(found.get("library_name", ""), str):
        errors.append('"library_name" must be a string')
    if str(found.get("pipeline_tag", "token-classification")) not in SUPPORTED_TASKS.keys() - {
        "few-shot-ner"
    }:
        errors.append('"pipeline_tag" must be a task of the Hub')
    emissions = found.get("co2_eq_emissions", 0)
    if not isinstance(emissions.get("emissions") if isinstance(emissions, dict) else emissions, int | float):
        errors.append('"co2_eq_emissions" must have a number')
    return errors + _index_errors(found)


def _value_errors(key, value):
    if key == "license" and value not in LICENSES:
        return ['"license" must be one of [apache-2.0, mit, …]']
    if key == "language" and not LANGUAGE.fullmatch(value):
        return [f'"language" must be a code of ISO 639, not {value}']
    if key in ("base_model", "datasets"):
        try:
            validate_repo_id(value)
        except HFValidationError as error:
            return [f'"{key}": {error}']
    return []


def _index_errors(found):
    """Of `model-index`: it must be the same when the client reads it, writes it and reads it again."""
    if "model-index" not in found:
        return []
    name, results = model_index_to_eval_results(found["model-index"])
    _, again = model_index_to_eval_results(eval_results_to_model_index(name, results))
    errors = (
        [] if sorted(map(repr, results)) == sorted(map(repr, again)) else ['"model-index" reads otherwise']
    )
    for one in results:
        if not isinstance(one.metric_value, int | float):
            errors.append(f'"model-index": {one.metric_type} is no number')
        if not re.fullmatch(r"[\w./-]+", str(one.dataset_type)):
            errors.append(f'"model-index": {one.dataset_type} is no name of a dataset')
        if one.task_type not in SUPPORTED_TASKS:
            errors.append(f'"model-index": {one.task_type} is no task')
    return errors
