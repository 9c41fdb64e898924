"""Models of any size, which need not exist."""

from pathlib import Path

import yaml

from paratime import ParaGRU
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "language"
VOCABULARY = 50432


def of_config(name: str, cell: type):
    """Return what makes a config's model, with one cell or the other."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    options = config["model"]["init_args"]["encoder"]
    heads = options.pop("mixer")["init_args"]["heads"]

    def build() -> LanguageTask:
        encoder = Encoder(**options, mixer=lambda width: cell(width, heads=heads))
        return LanguageTask(encoder, TokenSpec(VOCABULARY))

    return build, options["width"], options["depth"], heads


def small(mixer=ParaGRU, width=64, depth=3, vocab_size=100, **options):
    def build() -> LanguageTask:
        return LanguageTask(
            Encoder(width, depth, mixer, mlp_size=96), TokenSpec(vocab_size), **options
        )

    return build
