"""What a task must know of its data, as plain values that checkpoints can hold."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from paratime.errors import InputError


@dataclass(frozen=True)
class DataSpec:
    """What a task must know of its data: sizes, names and statistics.

    Every field is a plain value, or a dataclass of plain values, so that checkpoints can be loaded
    with ``weights_only=True``.
    """

    data: ClassVar[str] = "data"
    """The data, in a few words, and its data module, for messages."""

    former: ClassVar[str] = ""
    """The hyper-parameter that held these values in checkpoints of version 0.1."""

    @classmethod
    def of(cls, value: Self | Mapping[str, Any]) -> Self:
        """Return a specification from an instance, or from the dictionary of a checkpoint.

        Raises:
            InputError: It is neither, or the dictionary lacks a field.
        """
        if isinstance(value, cls):
            return value
        needed = {x.name for x in fields(cls) if x.default is x.default_factory is MISSING}
        if not isinstance(value, Mapping) or not needed <= value.keys():
            raise InputError(
                "spec",
                expected=f"a {cls.__name__}, or a dictionary with {', '.join(sorted(needed))}",
                got=repr(value)[:80],
                remedy=f"pass the spec of {cls.data}",
            )
        typed: Self = _typed(cls, value)
        return typed

    @classmethod
    def saved_in(cls, hyperparameters: Mapping[str, Any]) -> Self | None:
        """Return what the hyper-parameters of a checkpoint hold, None if they hold nothing."""
        value = hyperparameters.get("spec") or hyperparameters.get(cls.former)
        return None if value is None else cls.of(value)

    def plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and tuples of plain values."""
        return asdict(self)


def _typed(hint: Any, value: Any) -> Any:
    """Return a value with nested dictionaries as dataclasses, and lists as tuples."""
    if is_dataclass(hint) and isinstance(value, Mapping):
        hints = get_type_hints(hint)
        kept = [x.name for x in fields(hint) if x.name in value]
        return hint(**{name: _typed(hints[name], value[name]) for name in kept})  # type: ignore[operator]
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        inner = get_args(hint)
        inner = (inner[0],) * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_typed(x, y) for x, y in zip(inner, value, strict=True))
    return value
