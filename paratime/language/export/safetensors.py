"""Language models as folders that need no code to be read: weights, config and tokenizer.

The config says how to build the model, as plain data: the class and its arguments, down to the
mixer's class and its own, as ``paratime fit`` keeps them in checkpoints. The rest of it is what
transformers looks for, see ``hub.py``.
"""

import copy
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from paratime.cli.parser import check_checkpoint  # whose module imports the baselines, for configs
from paratime.errors import InputError, one_line
from paratime.io.atomic import making
from paratime.language.export.weights import (
    CONFIG,
    read_checkpoint,
    read_json,
    read_weights,
    write_weights,
)
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import from_spec
from paratime.language.tokenizers.vocabulary import tokenizer_files

PREFIX = "model."
"""Of the names of weights: those of the model within ``hub.ParatimeForCausalLM``."""

MODEL_TYPE = "paratime"


def export(
    task: LanguageTask, folder: str | Path, encoder: dict[str, Any], *, step: bool = False
) -> None:
    """Write a model that was made in Python.

    Args:
        task: The model.
        folder: New or empty.
        encoder: What its encoder is, as a config would say it: ``{"width": 64, "depth": 2,
            "mixer": {"class_path": "paratime.ParaGRU", "init_args": {"heads": 2}}}``.
        step: As for ``export_checkpoint``.

    Raises:
        InputError: A model that is built so has other weights, or computes something else.
    """
    kind = type(task)
    arguments = dict(task.hparams) | {"encoder": encoder}
    recipe = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}
    twin = build(recipe)
    remedy = "describe the encoder with all arguments that it was built with"
    _fill(twin, task.state_dict(), "encoder", remedy)
    _check_same(task, twin, remedy)
    write(twin, recipe, folder, step=step)


def export_checkpoint(ckpt_path: str, folder: str | Path, *, step: bool = False) -> None:
    """Write the model of a checkpoint of ``paratime fit``.

    Args:
        ckpt_path: The checkpoint.
        folder: New or empty.
        step: Whether to write the program of ``program.py``, too.

    Raises:
        InputError: The checkpoint is none, or does not say how to build its model.
    """
    write(*_of_checkpoint(ckpt_path), folder, step=step)


def from_exported(folder: str | Path) -> LanguageTask:
    """Return the model of a folder, in evaluation mode, with the same numbers.

    Building it imports the classes that the config names; what is not installed here, or in the
    working directory, is not run.

    Raises:
        InputError: Files are missing, or do not fit together.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if config.get("model_type") != MODEL_TYPE:
        got, remedy = repr(config.get("model_type")), "name a folder of paratime language export"
        raise InputError(f"model_type of {folder}", MODEL_TYPE, got, remedy)
    task, weights = build(config.get("model", {})), read_weights(folder)
    named = {name.removeprefix(PREFIX): x for name, x in weights.items()}
    _fill(task, named, f"weights of {folder}", "export the model again")
    return task.eval()


def load(path: str, device: str = "cpu") -> LanguageTask:
    """Return the model of a checkpoint of ``paratime fit``, or of an exported folder.

    Args:
        path: The checkpoint, or the folder.
        device: Where the model goes, as torch names it.

    Raises:
        InputError: There is neither, or no such device.
    """
    if (Path(path) / CONFIG).is_file():
        task = from_exported(path)
    else:
        task = _of_checkpoint(path)[0].eval()
    try:
        return task.to(device)
    except (RuntimeError, AssertionError) as error:
        remedy = "name another device, or leave it out"
        raise InputError("device", "one that torch finds here", one_line(error), remedy) from None


def build(recipe: dict[str, Any]) -> LanguageTask:
    """Return a new model.

    Args:
        recipe: Its class and arguments, as plain data.

    Raises:
        InputError: A class that is not there, or arguments that it does not take.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LanguageTask, "model", fail_untyped=False)
    try:
        made = parser.instantiate(parser.parse_object({"model": copy.deepcopy(recipe)}))
    except ArgumentError as error:
        remedy = "install what it needs, or run where its module is"
        raise InputError("model", "classes and arguments", one_line(error), remedy) from None
    task: LanguageTask = made.model
    if task.tokenizer is not None:  # the parser has read its strings, such as JSON, as values
        task.tokenizer = task.hparams["tokenizer"] = recipe["init_args"]["tokenizer"]
    return task


def recipe_of(hyperparameters: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the class and arguments that ``paratime fit`` keeps in a checkpoint.

    Args:
        hyperparameters: Of the checkpoint.
        name: Of the checkpoint, for messages.

    Raises:
        InputError: They do not say how to build the model.
    """
    module, _, attribute = str(hyperparameters.get("_class_path")).rpartition(".")
    kind = getattr(sys.modules.get(module), attribute, None)  # as Lightning, import nothing new
    task = kind if isinstance(kind, type) and issubclass(kind, LanguageTask) else None
    if task is None or "encoder" not in hyperparameters:
        remedy = "load it in Python with its encoder, and call paratime.language.export.safetensors.export"
        raise InputError(name, "a language model of paratime fit", "another checkpoint", remedy)
    names = inspect.signature(task).parameters
    arguments = {key: value for key, value in hyperparameters.items() if key in names}
    return {"class_path": f"{module}.{attribute}", "init_args": arguments}


def write(
    task: LanguageTask, recipe: dict[str, Any], folder: str | Path, *, step: bool = False
) -> None:
    """Write a model and how it is built, whole or not at all."""
    with making(folder) as draft:
        draft.mkdir()
        write_weights({PREFIX + name: x for name, x in task.state_dict().items()}, draft)
        _write_json(draft / CONFIG, config_of(task, recipe))
        for name, content in tokenizer_files(task.tokenizer).items():
            _write_json(draft / name, content)
        if step:
            from paratime.language.export.torch_export import (
                export_step,  # which takes a second to import
            )

            export_step(task, draft)


def config_of(task: LanguageTask, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a model that is built by a recipe."""
    start = None if task.tokenizer is None else from_spec(task.tokenizer).start
    return {
        "architectures": ["ParatimeForCausalLM"],
        "model_type": MODEL_TYPE,
        "model": recipe,
        "vocab_size": task.head.out_features,
        "hidden_size": task.encoder.width,
        "bos_token_id": start,
        "eos_token_id": start,
        "pad_token_id": start,
        "dtype": str(task.head.weight.dtype).removeprefix("torch."),
    }


def _of_checkpoint(path: str) -> tuple[LanguageTask, dict[str, Any]]:
    """Return a checkpoint's model, and how it is built."""
    check_checkpoint(path)
    try:
        saved = read_checkpoint(path)
        hyperparameters, weights = saved.get("hyper_parameters", {}), saved["state_dict"]
    except Exception as error:  # torch names no common class for what is cut or of another kind
        got, remedy = f"{type(error).__name__}: {one_line(error)}", "name what paratime fit printed"
        raise InputError(path, "a checkpoint of paratime fit", got, remedy) from None
    recipe = recipe_of(hyperparameters, path)
    task = build(recipe)
    _fill(task, weights, f"weights of {path}", "train it anew")
    return task, recipe


def _fill(task: LanguageTask, weights: dict[str, Tensor], what: str, remedy: str) -> None:
    """Load weights in their precision; refuse those of another model."""
    ours = task.state_dict(keep_vars=True)
    shapes = {name: tuple(x.shape) for name, x in ours.items()}
    found = {name: tuple(x.shape) for name, x in weights.items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            expected, got = (str(x.get(name, "no such weight")) for x in (shapes, found))
            raise InputError(what, f"{name} {expected}", got, remedy)
    for name, x in ours.items():
        x.data = x.data.to(weights[name].dtype)
    task.load_state_dict(weights)


@torch.inference_mode()
def _check_same(task: LanguageTask, twin: LanguageTask, remedy: str) -> None:
    """Refuse a description that gives the same weights another meaning."""
    ids = torch.arange(64).remainder(task.head.out_features).view(2, 32)
    training, twin = task.training, copy.deepcopy(twin).to(task.device)
    expected, got = (model.eval()(ids.to(task.device))[0] for model in (task, twin))
    task.train(training)
    gap = float((expected - got).abs().max())
    if not gap <= 1e-5 * (1 + float(expected.abs().max())):
        raise InputError("encoder", "one with these logits", f"others, off by {gap:.1e}", remedy)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
