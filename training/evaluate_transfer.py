"""Evaluate domain transfer with a recipe, as `lacl evaluate` does.

python training/evaluate_transfer.py training/recipes/transfer_wnut17_gum.yaml --checkpoint DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from modeling_lacl.evaluation.comparison import evaluate_recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate the recipe given on the command line and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe", help="YAML file")
    parser.add_argument("--checkpoint", help="folder or Hub name of the source model")
    parser.add_argument("--data_root", help="folder that the paths of the targets are relative to")
    parser.add_argument("--output", help="folder for the results; an interrupted run resumes from there")
    parser.add_argument(
        "--limit", type=int, help="maximum number of support sets per target and number of shots"
    )
    parser.add_argument(
        "--method",
        action="append",
        dest="methods",
        help="method to evaluate, of a recipe with several; can be repeated",
    )
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        help="target or episodes to evaluate on (default: all); can be repeated",
    )
    options = vars(parser.parse_args(arguments))
    print(evaluate_recipe(options.pop("recipe"), **options).to_markdown())


if __name__ == "__main__":
    main()
