"""Create the adapter of a released model: train with its recipe, and extract a low-rank adapter of a few MB.

    python training/release.py training/recipes/wide_minilm.yaml
    python training/release.py training/recipes/few_nerd_inter_minilm.yaml --train_file FILE \\
        --name lacl-minilm-fewnerd --rank 32 --bf16 true --use_cpu true

These are the commands of the released models. A model that is already in the output folder of the recipe is
reused if it has the options of the recipe.
"""

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.files import write_atomically
from modeling_lacl.hub.bundled import (
    ADAPTER_FILE,
    RELEASED,
    embedded_encoder,
    extract_adapter,
    released_folder,
)
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("recipe", help="source training recipe; further arguments override it")
    parser.add_argument("--name", default=RELEASED[0], help="name of the released model")
    parser.add_argument(
        "--rank", type=int, help="maximum rank of the change of each matrix; by default it is kept in 4 bits"
    )
    options, overrides = parser.parse_known_args()
    arguments = parse_arguments([options.recipe, *overrides])
    checkpoint = Path(str(arguments[2].output_dir))
    if not (checkpoint / "config.json").is_file():
        train_source(*arguments)
    model = LaclForTokenClassification.from_pretrained(checkpoint)
    asked = arguments[0].config_kwargs()
    if differing := [name for name, value in asked.items() if getattr(model.config, name) != value]:
        raise SystemExit(
            f"{checkpoint} was trained with another {', '.join(differing)} than the recipe asks for: give "
            "another --output_dir, or remove that folder"
        )
    folder = released_folder(options.name)
    folder.mkdir(parents=True, exist_ok=True)
    base = load_file(embedded_encoder() / "model.safetensors")
    save_file(
        extract_adapter(model.state_dict(), base, options.rank), folder / ADAPTER_FILE, {"format": "pt"}
    )
    config = model.config.to_dict()
    # The last two belong to a folder with remote code, and are set again on saving.
    for key in ("_name_or_path", "architectures", "transformers_version", "auto_map", "custom_pipelines"):
        config.pop(key, None)
    write_atomically(folder / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")
    size = (folder / ADAPTER_FILE).stat().st_size
    form = "4 bits" if options.rank is None else f"rank {options.rank}"
    print(f"{folder / ADAPTER_FILE}: {size / 2**20:.1f} MiB, {form}")


if __name__ == "__main__":
    main()
