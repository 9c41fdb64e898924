"""The options nearest to one that does not exist, and the classes that an option accepts."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import takewhile
from typing import Any, get_args, get_origin, get_type_hints

DEEPEST = 5
"""Names in a dotted one, of which classes may have as arguments what they contain."""

SYNONYMS = {
    "d_model": "width",
    "dim": "width",
    "epochs": "max_epochs",
    "hidden_size": "width",
    "layers": "depth",
    "learning_rate": "lr",
    "num_layers": "depth",
    "n_layers": "depth",
    "seed": "seed_everything",
    "seq_len": "context_length",
    "steps": "max_steps",
    "wd": "weight_decay",
}
"""What other programs call an option."""


@dataclass(frozen=True)
class Options:
    """All options of a command, those of classes that it accepts included.

    Args:
        plain: Options of the parser, dotted, with their type hints.
        classes: Classes that may be named.
        words: What the user gave: arguments, and words of configs, which name the classes that the
            user chose.
    """

    plain: Mapping[str, Any]
    classes: Sequence[type]
    words: frozenset[str]

    @cached_property
    def hints(self) -> dict[str, list[type]]:
        """The classes that each option accepts, by its dotted name."""
        found: dict[str, list[type]] = {}
        for name, hint in self.plain.items():
            for path, accepted in self._below(name, hint):
                found.setdefault(path, []).extend(accepted)
        return found

    def _below(self, name: str, hint: Any) -> Iterator[tuple[str, list[type]]]:
        accepted = [c for base in _classes_in(hint) for c in self._concrete(base)]
        yield name, accepted
        if name.count(".") < DEEPEST:
            chosen = [c for c in accepted if c.__name__ in self.words] or accepted
            for known in chosen:
                for argument, inner in _arguments(known).items():
                    yield from self._below(f"{name}.{argument}", inner)

    def _concrete(self, base: type) -> list[type]:
        own = [] if inspect.isabstract(base) else [base]
        return [*dict.fromkeys([*own, *(c for c in self.classes if issubclass(c, base))])]

    def near(self, option: str) -> list[str]:
        """Return the nearest options to one that does not exist, at most three, the best first.

        Args:
            option: Its dotted name, without dashes.
        """
        parent, _, leaf = option.rpartition(".")
        names, found = [name for name in self.hints if name != option], []
        for word in dict.fromkeys((SYNONYMS.get(leaf, leaf), leaf)):
            same = [name for name in names if name.rpartition(".")[2] == word]
            found += sorted(same, key=lambda x: (-_shared(x, option), x.count("."), x))[:1]
        if found:
            return found
        siblings = {name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == parent}
        found = close(leaf, siblings)
        return [f"{parent}.{name}".lstrip(".") for name in found]

    def accepted(self, option: str) -> list[str]:
        """Return the names of the classes that an option accepts."""
        return [c.__name__ for c in self.hints.get(option, [])]


def close(name: str, names: Iterable[str]) -> list[str]:
    """Return the nearest of some names, at most three, whatever their case; the best first."""
    lower = {other.lower(): other for other in sorted(set(names), reverse=True)}
    word = name.lower()
    longer = [other for other in sorted(lower) if len(word) > 2 and other.startswith(word)]
    found = dict.fromkeys([*longer, *get_close_matches(word, lower, n=3, cutoff=0.5)])
    return [lower[other] for other in found][:3]


def _shared(one: str, other: str) -> int:
    """Return how many leading names two dotted ones share."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _arguments(known: type) -> dict[str, Any]:
    """Return the hints of a class's arguments, none for one whose hints cannot be read."""
    try:
        hints = get_type_hints(type.__getattribute__(known, "__init__"))
        names = inspect.signature(known).parameters
    except (NameError, TypeError, ValueError):
        return {}
    return {name: hints.get(name) for name in names if name not in ("self", "spec")}


def _classes_in(hint: Any) -> list[type]:
    """Return the classes of ours in a hint: one of several, or what a callable returns."""
    if isinstance(hint, type):
        return [hint] if hint.__module__.startswith("paratime") else []
    if get_origin(hint) is None:
        return []
    return [found for inner in get_args(hint) for found in _classes_in(inner)]
