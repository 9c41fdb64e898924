"""``paratime doctor``: look at the layers of a trained model."""

import json as formats
import sys
from typing import Any

from jsonargparse import auto_cli

from paratime.cli.parser import Parser, mistakes_in_one_line


def run(
    ckpt_path: str,
    data: str | None = None,
    training: str | None = None,
    out: str | None = None,
    json: bool = False,
) -> None:
    """Examine a model's layers: weights, slopes, Lyapunov exponents, Newton's iterations, gates.

    Slopes and the rest need data. Without ``--data``, it is that of the config that paratime fit
    wrote next to the checkpoint, if it is there.

    Args:
        ckpt_path: Checkpoint of paratime fit, folder of paratime forecast fit, or of paratime
            language export.
        data: Text files, a table of series, or trajectories, as the other commands take them.
        training: The config of the training, whose data is read, instead.
        out: Figure to write, .png, .svg or .pdf.
        json: Whether to print one line of JSON instead of a table.
    """
    from paratime.doctor.examine import examine
    from paratime.doctor.findings import findings
    from paratime.doctor.report import draw_layers, layer_table
    from paratime.doctor.subject import load_subject, moments_of, reader, training_config
    from paratime.io.figures import check_figure, save_figure
    from paratime.training.finite.weights import not_finite

    if out is not None:
        check_figure(out)
    task = load_subject(ckpt_path)
    training = training or (training_config(ckpt_path) if data is None else None)
    layers = examine(task, reader(task, data, training))
    bad = sum(not_finite(task.named_parameters()).values())
    others = bad - sum(layer.not_finite for layer in layers)
    advice = findings(layers, moments_of(ckpt_path), others)
    if out is not None:
        save_figure(draw_layers(layers), out)
    if json:
        plain: dict[str, Any] = {"layers": [x.plain() for x in layers], "findings": advice}
        print(formats.dumps(plain))
        return
    read = data or (training and f"data of {training}") or "nothing: give --data or --training"
    print(layer_table(layers), "", f"{'read':<20} {read}", sep="\n")
    if out is not None:
        print(f"{'figure':<20} {out}")
    print("\n".join(["", *(advice or ["nothing is wrong with these figures"])]))


def main() -> None:
    """Run ``paratime doctor ...`` from ``sys.argv``."""
    with mistakes_in_one_line():
        auto_cli(
            run,
            args=sys.argv[2:],
            parser_class=Parser,
            prog="paratime doctor",
            as_positional=False,
            allow_abbrev=False,
        )
