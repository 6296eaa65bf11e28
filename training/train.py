"""Train a source model: `accelerate launch training/train.py recipe.yaml [--argument value …]`."""

import sys

from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source


def main() -> None:
    train_source(*parse_arguments(sys.argv[1:]))


if __name__ == "__main__":
    main()
