"""Programs of ``torch.export``, run as data: nothing in the file is unpickled, parsed or compiled.

``torch.export.load`` unpickles parts of a ``.pt2`` archive without restrictions, and evaluates text
in it. Here, the archive's graph is a list of calls: each names an operator of a closed table, and
its arguments, which are values of earlier calls and constants. Weights are raw bytes, whose
checksums are verified.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from paratime.errors import InputError, describe_error
from paratime.io.saved.archives import check_archive
from paratime.ops import scan as _scan  # noqa: F401 (defines paratime::scan)

Values = dict[str, Any]
Read = Callable[[Values], Any]

TYPES = {
    **{1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64},
    **{6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16},
}
"""Types of tensors by their numbers in the schema of ``torch.export``."""

FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}

STRIDED = 7
"""The number of the only layout of tensors that is supported."""

OPERATIONS = (
    *("eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub"),
    *("floordiv", "truediv", "mod", "and_", "or_"),
)

SYMBOLS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in OPERATIONS},
    **{f"torch.{name}": getattr(torch, name) for name in ("sym_not", "sym_max", "sym_min")},
    "math.trunc": math.trunc,
}
"""Functions of sizes."""

SCAN = "torch.ops.paratime.scan.default"
"""The operator of paratime that steps use; it checks its arguments itself."""

ATEN = {
    *("__and__", "__or__", "__xor__", "_assert_scalar", "_assert_tensor_metadata"),
    *("_log_softmax", "_softmax", "_to_copy", "_unsafe_view", "addcdiv", "addcmul", "addmm"),
    *("arange", "baddbmm", "bmm", "broadcast_to", "chunk", "clamp_max", "clamp_min", "complex"),
    *("contiguous", "conv1d", "conv2d", "conv3d", "cumprod", "detach", "diag_embed", "diagonal"),
    *("diff", "dot", "dropout", "einsum", "elu", "expand_as", "feature_dropout", "flatten"),
    *("frobenius_norm", "gelu", "glu", "group_norm", "gru", "gru_cell", "hardtanh", "index_add"),
    *("index_copy", "index_fill", "isfinite", "isinf", "isnan", "layer_norm", "leaky_relu"),
    *("lerp", "linalg_vector_norm", "linear", "log_sigmoid", "log_softmax", "logaddexp"),
    *("logcumsumexp", "logsumexp", "lstm", "lstm_cell", "mH", "mT", "masked_fill"),
    *("masked_select", "matmul", "mm", "mode", "moveaxis", "movedim", "mv", "nan_to_num"),
    *("narrow", "new_empty", "new_full", "new_ones", "new_zeros", "norm", "numpy_T", "ones"),
    *("ones_like", "outer", "pad", "pixel_shuffle", "prelu", "relu6", "repeat_interleave"),
    *("reshape", "reshape_as", "rms_norm", "rnn_relu", "rnn_relu_cell", "rnn_tanh"),
    *("rnn_tanh_cell", "roll", "rot90", "rsub", "scaled_dot_product_attention", "selu"),
    *("sigmoid", "silu", "softmax", "softplus", "softshrink", "split", "split_with_sizes"),
    *("square", "stack", "std", "t", "take_along_dim", "tensor_split", "tile", "to", "trace"),
    *("transpose", "tril", "triu", "type_as", "unbind", "unflatten", "unfold", "var", "vdot"),
    *("view_as", "where", "xlogy", "zeros", "zeros_like"),
}
"""Operators of torch, next to those of its own core set, that compute and do nothing else."""

TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)


class StepProgram:
    """A program that maps tensors to tensors.

    Args:
        path: The archive, which ``torch.export.save`` wrote.

    Raises:
        InputError: It is damaged, or holds more than calls of known operators and their weights.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        check_archive(path)
        try:
            with ZipFile(path) as archive:
                self._load(_Members(archive))
        except InputError:
            raise
        except Exception as error:  # whatever a graph of another form leads to
            raise _refused(path, describe_error(error)) from None

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs for inputs, in the order of the program that was exported.

        Raises:
            InputError: The inputs are of other shapes or types than the program's.
        """
        values = {**self._constants}
        for name, x in zip(self._inputs, inputs, strict=True):
            self._check(name, x)
            values[name] = x
        for run, arguments, options, bind in self._calls:
            named = {name: read(values) for name, read in options.items()}
            bind(values, run(*[read(values) for read in arguments], **named))
        return [read(values) for read in self._outputs]

    def _load(self, members: "_Members") -> None:
        model = members.json("models/model.json")["graph_module"]
        graph = model["graph"]
        self._about = graph["tensor_values"]
        weights = members.tensors("weights") | members.tensors("constants")
        self._constants, self._inputs = {}, []
        for spec in model["signature"]["input_specs"]:
            ((kind, about),) = spec.items()
            name = _tensor_name(
                about["arg"] if kind == "user_input" else {"as_tensor": about["arg"]}
            )
            if kind == "user_input":
                self._inputs.append(name)
            else:
                self._constants[name] = weights[about[KEPT[kind]]]
        self._outputs = [_read(x["user_output"]["arg"]) for x in model["signature"]["output_specs"]]
        self._calls = [_call(node) for node in graph["nodes"]]

    def _check(self, name: str, x: Tensor) -> None:
        about = self._about[name]
        sizes = [size.get("as_int") for size in about["sizes"]]
        fits = len(sizes) == x.dim() and all(
            size in (None, given) for size, given in zip(sizes, x.shape, strict=True)
        )
        if not fits or x.dtype != TYPES[about["dtype"]]:
            shape = ", ".join("any" if size is None else str(size) for size in sizes)
            raise InputError(
                f"{name} of {self._path}",
                expected=f"{TYPES[about['dtype']]} ({shape})",
                got=f"{x.dtype} {tuple(x.shape)}",
                remedy="give what it was made for",
            )


KEPT = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}
"""Kinds of inputs that the archive holds, and where each has its name there."""


class _Members:
    """The members of an archive, without the folder that all of them are in."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names = {name.partition("/")[2]: name for name in archive.namelist()}

    def read(self, name: str) -> bytes:
        return self._archive.read(self._names[name])

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def tensors(self, kind: str) -> dict[str, Tensor]:
        """Return the weights or the constants by name; each is a view of a part's raw bytes."""
        about = self.json(f"data/{kind}/model_{kind}_config.json")["config"]
        parts: dict[tuple[str, int], Tensor] = {}
        found = {}
        for name, each in about.items():
            meta, part = each["tensor_meta"], (each["path_name"], each["tensor_meta"]["dtype"])
            if each["use_pickle"] is not False or meta["layout"] != STRIDED:
                raise ValueError(f"{name} is no plain tensor")
            if part not in parts:
                parts[part] = _tensor(self.read(f"data/{kind}/{part[0]}"), TYPES[part[1]])
            sizes, strides = ([int(x["as_int"]) for x in meta[k]] for k in ("sizes", "strides"))
            offset = int(meta["storage_offset"]["as_int"])
            found[name] = parts[part].as_strided(sizes, strides, offset)
        return found


def _tensor(content: bytes, dtype: torch.dtype) -> Tensor:
    return (
        torch.frombuffer(bytearray(content), dtype=dtype)
        if content
        else torch.empty(0, dtype=dtype)
    )


def _call(node: Mapping[str, Any]) -> tuple[Callable[..., Any], list[Read], dict[str, Read], Any]:
    """Return a call of the graph: what it runs, its arguments, and how it keeps the result."""
    positional = [x for x in node["inputs"] if x.get("kind") != 2]
    arguments = [_read(x["arg"]) for x in positional]
    options = {str(x["name"]): _read(x["arg"]) for x in node["inputs"] if x.get("kind") == 2}
    return _operator(node["target"]), arguments, options, _bound(node["outputs"])


def _operator(target: str) -> Callable[..., Any]:
    """Return an operator that only computes.

    Raises:
        ValueError: It is none that is known.
    """
    if target in SYMBOLS:
        return SYMBOLS[target]
    if target == SCAN:
        return torch.ops.paratime.scan.default
    if found := TARGET.fullmatch(target):
        packet = getattr(torch.ops.aten, found[1], None)
        overload = getattr(packet, found[2], None)
        base = found[1] if found[1].endswith("__") else found[1].removesuffix("_")
        if isinstance(overload, torch._ops.OpOverload) and _computes(overload, base):
            return overload
    raise ValueError(f"operator {target!r} is not known")


def _computes(overload: Any, name: str) -> bool:
    return name in ATEN or torch.Tag.core in overload.tags or _is_core(name)


def _is_core(name: str) -> bool:
    """Return whether an operator has an overload in torch's core set."""
    packet = getattr(torch.ops.aten, name, None)
    kinds = [getattr(packet, x) for x in packet.overloads()] if packet is not None else []
    return any(torch.Tag.core in x.tags for x in kinds)


def _tensor_name(argument: Mapping[str, Any]) -> str:
    return str(argument["as_tensor"]["name"])


def _read(argument: Mapping[str, Any]) -> Read:
    """Return what finds an argument among the values of earlier calls."""
    ((kind, value),) = argument.items()
    if kind in CONSTANTS:
        constant = CONSTANTS[kind](value)
        return lambda values: constant
    if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
        return _named(value)
    if kind in ("as_tensors", "as_sym_ints", "as_optional_tensors"):
        parts = [_named(x) for x in value]
        return lambda values: [part(values) for part in parts]
    if kind == "as_optional_tensor":
        return _named(value)
    raise ValueError(f"an argument {kind!r}")


def _named(value: Mapping[str, Any]) -> Read:
    """Return what finds a tensor or a size by name, or a constant in its place."""
    if "as_tensor" in value:
        return _named(value["as_tensor"])
    name = value.get("name", value.get("as_name"))
    if name is not None:
        return lambda values: values[name]
    constant = None if "as_none" in value else next(iter(value.values()))
    if not isinstance(constant, bool | int | float | None):
        raise ValueError(f"a constant {constant!r}")
    return lambda values: constant


def _device(value: Mapping[str, Any]) -> torch.device:
    index = value.get("index")
    return torch.device(value["type"]) if index is None else torch.device(value["type"], index)


def _as(kind: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"a constant {value!r}")
        return value

    return check


def _list_of(kind: Any) -> Callable[[Any], Any]:
    return lambda value: [_as(kind)(x) for x in value]


def _layout(value: int) -> torch.layout:
    if value != STRIDED:
        raise ValueError(f"layout {value}")
    return torch.strided


CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda value: None,
    "as_int": _as(int),
    "as_ints": _list_of(int),
    "as_float": lambda value: float(_as(int | float | str)(value)),
    "as_floats": lambda value: [float(x) for x in value],
    "as_bool": _as(bool),
    "as_bools": _list_of(bool),
    "as_string": _as(str),
    "as_scalar_type": lambda value: TYPES[value],
    "as_memory_format": lambda value: FORMATS[value],
    "as_layout": _layout,
    "as_device": _device,
}
"""Kinds of arguments whose values stand in the graph."""


def _bound(outputs: Sequence[Mapping[str, Any]]) -> Callable[[Values, Any], None]:
    """Return what keeps the result of a call under the names of the graph."""
    names: list[Any] = []
    for output in outputs:
        ((kind, value),) = output.items()
        if kind == "as_tensors":
            names.append([x["name"] for x in value])
        else:
            names.append(value and (value.get("name") or value.get("as_name")))
    if len(names) == 1:
        return lambda values, result: _keep(values, names[0], result)
    return lambda values, result: _keep(values, names, result) if names else None


def _keep(values: Values, name: Any, result: Any) -> None:
    if isinstance(name, list):
        for each, part in zip(name, result, strict=True):
            _keep(values, each, part)
    else:
        values[name] = result


def _refused(path: str | Path, got: str) -> InputError:
    return InputError(
        str(path),
        expected="a step that paratime language export wrote",
        got=got,
        remedy="export the model again; torch.export.load runs other programs that you trust",
    )
