"""The command ``paratime language size``: what a config's model costs, as a table."""

from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from paratime.cli.parser import Parser, mistakes_in_one_line
from paratime.errors import InputError
from paratime.language.data.datamodule import TokenData
from paratime.language.model.footprint import (
    BYTES,
    Activations,
    Build,
    activations,
    on_meta,
    parameters_by_part,
    part_of,
)
from paratime.language.model.task import LanguageTask

NOT_USED = ("trainer", "seed_everything", "optimizer", "lr_scheduler", "ckpt_path", "weights_only")
"""Options of ``paratime fit`` that say nothing of the model; each run's config.yaml has them."""

GPUS = (8, 32, 64)
KIB, GIB = 2**10, 2**30


def main(args: list[str]) -> None:
    """Print what the model of a config costs; options are those of ``paratime fit``."""
    with mistakes_in_one_line():
        parser = _parser()
        config = parser.parse_args(args)
        if config.model.init_args.vocab_size is None:
            data = parser.instantiate_classes(Namespace(data=config.data)).data
            config.model.init_args.vocab_size = _vocab_size(data)

        def build() -> LanguageTask:
            task: LanguageTask = parser.instantiate_classes(Namespace(model=config.model)).model
            return task

        print(table(build, config.data.init_args.context_length))


def _vocab_size(data: TokenData) -> int:
    try:
        size: int = data.facts["vocab_size"]
    except InputError as error:
        remedy = "without data, give --model.vocab_size"
        raise InputError("vocab_size", "data to take it from", str(error), remedy) from None
    return size


def table(build: Build, length: int) -> str:
    """Return lines on parameters, operations and memory of a model.

    Args:
        build: Makes the model.
        length: Tokens of the sequence whose activations are shown.
    """
    task, kept = on_meta(build), activations(build)
    parts = parameters_by_part(task)
    total, forward = sum(parts.values()), task.flops() / 3
    operations = {"forward": forward, "training": 3 * forward, "recomputed": 4 * forward}
    memory = {name: f"{total * size / GIB:,.3f} GiB" for name, size in BYTES.items()}
    per_token = {"kept": kept.kept, "recomputed": kept.recomputed}
    sections = {
        f"parameters, at {task.head.out_features:,} token ids": {
            name: f"{n:,}" for name, n in (parts | {"total": total}).items()
        },
        "operations a token": {name: f"{n / 1e6:,.1f} M" for name, n in operations.items()},
        "memory of one process (float32, also under bf16-mixed)": memory,
        "activations a token (bf16-mixed)": {
            name: f"{size / KIB:,.1f} KiB" for name, size in per_token.items()
        },
    }
    lines = [line for title, rows in sections.items() for line in (title, *_aligned(rows), "")]
    return "\n".join([*lines, *_by_gpus(build, kept, length)])


def _by_gpus(build: Build, kept: Activations, length: int) -> list[str]:
    lines = [f"GiB of each GPU under FSDP2, with the activations of {length} tokens"]
    names = ("GPUs", "states", "gathered", "kept", "sum", "recomputed", "sum")
    lines.append("  " + "".join(f"{name:>11}" for name in names))
    most, least = kept.kept * length, kept.recomputed * length
    for gpus in GPUS:
        part = part_of(build, gpus)
        fixed = part.states + part.gathered
        sizes = (part.states, part.gathered, most, fixed + most, least, fixed + least)
        lines.append(f"  {gpus:>11}" + "".join(f"{size / GIB:>11.3f}" for size in sizes))
    return [
        *lines,
        "states are weights, gradients and moments; gathered is what is whole while it is used",
    ]


def _aligned(rows: dict[str, str]) -> list[str]:
    return [f"  {name:<20}{value:>18}" for name, value in rows.items()]


def _parser() -> Parser:
    """Return a parser of the options of ``paratime fit`` that say something of the model."""
    parser: Any = Parser(prog="paratime language size", description=str(main.__doc__))
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="as for paratime fit")
    parser.add_subclass_arguments(LanguageTask, "model", required=True)
    parser.add_subclass_arguments(TokenData, "data", required=True)
    for name in NOT_USED:
        parser.add_argument(f"--{name}", type=Any, help="not used")
    return parser
