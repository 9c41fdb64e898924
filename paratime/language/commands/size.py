"""``paratime language size``: parameters, memory and operations of a config, as a table."""

from argparse import SUPPRESS
from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from paratime.cli.parser import Parser, mistakes_in_one_line
from paratime.errors import InputError
from paratime.language.data.datamodule import TokenData
from paratime.language.data.spec import TokenSpec
from paratime.language.model.footprint import (
    BYTES,
    Activations,
    TaskFactory,
    activations,
    memory_per_gpu,
    on_meta,
    parameters_by_part,
)
from paratime.language.model.task import LanguageTask

NOT_USED = ("trainer", "seed_everything", "optimizer", "lr_scheduler", "ckpt_path", "weights_only")
"""Options in each run's config.yaml that do not concern the model."""

GPUS = (8, 32, 64)
KIB, GIB = 2**10, 2**30


def run(args: list[str]) -> None:
    """Print what the model of a config costs; options are those of paratime fit."""
    with mistakes_in_one_line():
        parser = _parser()
        config = parser.parse_args(args)
        size = config.vocab_size
        if size is None:
            size = _vocab_size(parser.instantiate_classes(Namespace(data=config.data)).data)

        def build() -> LanguageTask:
            task: LanguageTask = parser.instantiate_classes(Namespace(model=config.model)).model
            task.specify(TokenSpec(size))
            return task

        print(footprint_table(build, config.data.init_args.context_length))


def _vocab_size(data: TokenData) -> int:
    try:
        return data.spec.vocab_size
    except InputError as error:
        raise InputError(
            "vocab_size", "data for it", str(error), "without data, give --model.vocab_size"
        ) from None


def footprint_table(build: TaskFactory, length: int) -> str:
    """Return parameters, operations and memory of a model as aligned text.

    Args:
        build: Builds the model.
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


def _by_gpus(build: TaskFactory, kept: Activations, length: int) -> list[str]:
    lines = [f"GiB of each GPU under FSDP2, with the activations of {length} tokens"]
    names = ("GPUs", "states", "gathered", "kept", "sum", "recomputed", "sum")
    lines.append("  " + "".join(f"{name:>11}" for name in names))
    most, least = kept.kept * length, kept.recomputed * length
    for gpus in GPUS:
        part = memory_per_gpu(build, gpus)
        fixed = part.states + part.gathered
        sizes = (part.states, part.gathered, most, fixed + most, least, fixed + least)
        lines.append(f"  {gpus:>11}" + "".join(f"{size / GIB:>11.3f}" for size in sizes))
    return [
        *lines,
        "states are weights, gradients and moments; gathered are whole weights while they are used",
    ]


def _aligned(rows: dict[str, str]) -> list[str]:
    return [f"  {name:<20}{value:>18}" for name, value in rows.items()]


def _parser() -> Parser:
    """Return a parser of the options of ``paratime fit``, of which the model's count."""
    parser: Any = Parser(prog="paratime language size", description=str(run.__doc__))
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Config.")
    parser.add_argument(
        "--model.vocab_size",
        dest="vocab_size",
        type=int,
        help="Number of token ids, instead of data.",
    )
    parser.add_subclass_arguments(LanguageTask, "model", required=True)
    parser.add_subclass_arguments(TokenData, "data", required=True)
    for name in NOT_USED:
        parser.add_argument(f"--{name}", type=Any, help=SUPPRESS)
    return parser
