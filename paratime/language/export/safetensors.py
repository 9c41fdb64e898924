"""Models as folders of safetensors, a config and a tokenizer; and models of checkpoints."""

import copy
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from paratime.errors import InputError, naming, one_line
from paratime.io.atomic import making
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import Untrusted, find_class, make
from paratime.language.data.spec import TokenSpec
from paratime.language.model.network import LanguageModel, LanguageNetwork
from paratime.language.model.weights import (
    CONFIG,
    check_weights_of,
    read_json,
    read_weights,
    write_weights,
)
from paratime.language.tokenizers.catalog import tokenizer_from_spec
from paratime.language.tokenizers.vocabulary import tokenizer_files

if TYPE_CHECKING:
    from paratime.language.model.task import LanguageTask

NetworkT = TypeVar("NetworkT", bound=LanguageNetwork)

WEIGHT_PREFIX = "model."
"""Prefix of the weights' names, which are those of ``ParatimeForCausalLM``."""

MODEL_TYPE = "paratime"

SPECIFIED = ("spec", "vocab_size", "tokenizer")
"""Arguments that describe the tokens: the current one, and those of version 0.1."""


def export_task(
    task: "LanguageTask", folder: str | Path, encoder: dict[str, Any], *, step: bool = False
) -> None:
    """Write a model that was built in Python.

    Args:
        task: The model.
        folder: New or empty.
        encoder: Its encoder, as in a config: ``{"width": 64, "depth": 2, "mixer": {"class_path":
            "paratime.ParaGRU", "init_args": {"heads": 2}}}``.
        step: As for ``export_checkpoint``.

    Raises:
        InputError: A model built from this description has other weights or other outputs.
    """
    kind = type(task)
    arguments = dict(task.hparams) | {"encoder": encoder}
    recipe = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}
    twin = build_task(recipe, of_user=True)
    remedy = "describe the encoder with all arguments that it was built with"
    _fill(twin, task.state_dict(), "encoder", remedy)
    _check_same(task, twin, remedy)
    write_folder(twin, recipe, folder, step=step)


def export_checkpoint(ckpt_path: str, folder: str | Path, *, step: bool = False) -> None:
    """Write the model of a checkpoint of ``paratime fit``.

    Args:
        ckpt_path: The checkpoint.
        folder: New or empty.
        step: Whether to write the program of ``torch_export.py``, too.

    Raises:
        InputError: The file is no checkpoint, or does not describe how to build its model.
    """
    recipe, weights = _in_checkpoint(ckpt_path)
    with naming(ckpt_path):
        task = build_task(recipe)
    _fill(task, weights, f"weights of {ckpt_path}", "train it anew")
    write_folder(task, recipe, folder, step=step)


def from_exported(folder: str | Path) -> "LanguageTask":
    """Return the model of a folder, in evaluation mode, with identical weights.

    Raises:
        InputError: Files are missing or damaged, do not match, or name classes that data may not
            name (``paratime.trust``).
    """
    return _of_folder(folder, build_task)


def load_task(path: str, device: str = "cpu") -> "LanguageTask":
    """Return the model of a checkpoint of ``paratime fit``, or of an exported folder.

    Args:
        path: The checkpoint, or the folder.
        device: Device of torch.

    Raises:
        InputError: There is neither, or no such device.
    """
    return _load(path, device, build_task)


def load_model(path: str, device: str = "cpu") -> LanguageNetwork:
    """Return the network of ``load_task``, of a ``LanguageTask`` without importing Lightning."""
    return _load(path, device, build_model)


def _load(path: str, device: str, build: Callable[[dict[str, Any]], NetworkT]) -> NetworkT:
    if (Path(path) / CONFIG).is_file():
        task = _of_folder(path, build)
    else:
        recipe, weights = _in_checkpoint(path)
        with naming(path):
            task = build(recipe)
        _fill(task, weights, f"weights of {path}", "train it anew")
        task.eval()
    try:
        return task.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            "device", "one that torch finds here", one_line(error), "name another device"
        ) from None


def build_task(recipe: dict[str, Any], *, of_user: bool = False) -> "LanguageTask":
    """Return a new model.

    Args:
        recipe: Its class and arguments, as plain data.
        of_user: Whether the user wrote the recipe, who may name any class.

    Raises:
        InputError: Data may not name a class, or it does not accept the arguments.
    """
    from paratime.language.model.task import LanguageTask  # brings Lightning along

    return _build(recipe, LanguageTask, of_user)


def build_model(recipe: dict[str, Any]) -> LanguageNetwork:
    """Return the network of a new model, without importing Lightning for a ``LanguageTask``."""
    if not _is_own(recipe.get("class_path")):
        return build_task(recipe)
    name = f"{LanguageModel.__module__}.{LanguageModel.__qualname__}"
    return _build(recipe | {"class_path": name}, LanguageModel)


def _build(recipe: dict[str, Any], kind: type[NetworkT], of_user: bool = False) -> NetworkT:
    recipe = recipe if isinstance(recipe, dict) else {}
    given = recipe.get("init_args")
    arguments = {**given} if isinstance(given, dict) else {}
    spec = TokenSpec.saved_in(arguments)
    if spec is None:
        raise InputError(
            "model", "classes, arguments and a spec of tokens", "none", "export the model again"
        )
    for name in SPECIFIED:
        arguments.pop(name, None)
    try:
        task = make(kind, recipe | {"init_args": arguments}, of_user=of_user)
    except Untrusted:
        raise
    except InputError as error:
        raise InputError(
            "model", "classes and arguments", one_line(error), "run where it is, or install it"
        ) from None
    try:
        task.specify(spec)
    except (RuntimeError, MemoryError) as error:
        text = one_line(error)
        raise InputError("model", "one that fits into memory", text, "use a whole copy") from None
    return task


def recipe_of(hyperparameters: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the class and arguments that ``paratime fit`` stores in a checkpoint.

    Args:
        hyperparameters: Hyper-parameters of the checkpoint.
        name: Name of the checkpoint, for messages.

    Raises:
        InputError: They do not describe how to build the model.
    """
    path = hyperparameters.get("_class_path")
    names = _arguments_of(path)
    if names is None or "encoder" not in hyperparameters:
        raise InputError(
            name,
            expected="a language model of paratime fit",
            got="another checkpoint",
            remedy="load it in Python with its encoder, and call paratime.language.export_task",
        )
    arguments = {key: value for key, value in hyperparameters.items() if key in names}
    if (spec := TokenSpec.saved_in(hyperparameters)) is not None:
        arguments["spec"] = spec.plain()
    return {"class_path": path, "init_args": arguments}


def _is_own(class_path: Any) -> bool:
    """Return whether a class is ``LanguageTask``, by any of the names that it has had."""
    path = str(class_path)
    return path.startswith("paratime.") and path.endswith(".LanguageTask")


def _arguments_of(class_path: Any) -> Iterable[str] | None:
    """Return the arguments of a language task, None if there is no such class."""
    if _is_own(class_path):
        return (*inspect.signature(LanguageModel).parameters, "spec", "optimizer")
    from paratime.language.model.task import LanguageTask  # brings Lightning along

    try:
        return inspect.signature(find_class(class_path, LanguageTask)).parameters
    except Untrusted:
        raise
    except InputError:
        return None


def write_folder(
    task: "LanguageTask", recipe: dict[str, Any], folder: str | Path, *, step: bool = False
) -> None:
    """Write a model and its recipe, completely or not at all."""
    with making(folder) as draft:
        draft.mkdir()
        weights = {WEIGHT_PREFIX + name: x for name, x in task.state_dict().items()}
        write_weights(weights, draft, recipe)
        _write_json(draft / CONFIG, config_of(task, recipe))
        for name, content in tokenizer_files(task.tokenizer).items():
            _write_json(draft / name, content)
        if step:
            from paratime.language.export.torch_export import export_step  # slow to import

            export_step(task, draft)


def config_of(task: "LanguageTask", recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a model and its recipe."""
    start = None if task.tokenizer is None else tokenizer_from_spec(task.tokenizer).start
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


def _of_folder(folder: str | Path, build: Callable[[dict[str, Any]], NetworkT]) -> NetworkT:
    """Return the model of an exported folder."""
    config = read_json(Path(folder) / CONFIG)
    if (kind := config.get("model_type")) != MODEL_TYPE:
        raise InputError(
            f"model_type of {folder}", MODEL_TYPE, repr(kind), "name an exported folder"
        )
    weights, recipe = read_weights(Path(folder)), config.get("model", {})
    with naming(folder):
        task = build(recipe)
    named = {name.removeprefix(WEIGHT_PREFIX): x for name, x in weights.items()}
    _fill(task, named, f"weights of {folder}", "export the model again")
    check_weights_of(Path(folder), weights, recipe)
    return task.eval()


def _in_checkpoint(path: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the recipe and the weights of a checkpoint."""
    saved = read_checkpoint(path)
    return recipe_of(saved.get("hyper_parameters", {}), path), saved["state_dict"]


def _fill(task: LanguageNetwork, weights: dict[str, Tensor], what: str, remedy: str) -> None:
    """Load weights, keeping their precision; refuse those of another model."""
    ours = task.state_dict(keep_vars=True)
    shapes = {name: tuple(x.shape) for name, x in ours.items()}
    found = {name: tuple(x.shape) for name, x in weights.items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            needed, theirs = (str(x.get(name, "no such weight")) for x in (shapes, found))
            raise InputError(what, f"{name} {needed}", theirs, remedy)
    for name, x in ours.items():
        x.data = x.data.to(weights[name].dtype)
    task.load_state_dict(weights)


@torch.inference_mode()
def _check_same(task: LanguageNetwork, twin: LanguageNetwork, remedy: str) -> None:
    """Refuse a description with the same weights but other outputs."""
    ids = torch.arange(64).remainder(task.head.out_features).view(2, 32)
    training, twin = task.training, copy.deepcopy(twin).to(task.device)
    expected, got = (model.eval()(ids.to(task.device))[0] for model in (task, twin))
    task.train(training)
    gap = float((expected - got).abs().max())
    if not gap <= 1e-5 * (1 + float(expected.abs().max())):
        raise InputError("encoder", "one with these logits", f"others, off by {gap:.1e}", remedy)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
