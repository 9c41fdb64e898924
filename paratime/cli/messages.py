"""Parse errors in one line: the place, what is wrong there, and the nearest names."""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from paratime.cli.hints import Options, close
from paratime.errors import InputError

_CLASS = re.compile(r"dot import path string: (\S+)|No module named '\S+' .*?: (\S+)")
_OPTION = re.compile(r"[Oo]ption '([^']+)'|unrecognized arguments?: -*(\S+)|not accepted: -*(\S+)")
_CHOICE = re.compile(r"invalid choice: '([^']+)' \(choose from (.*)\)")
_ABSTRACT = re.compile(r'Parser key "([^"]+)".*but (\S+) is abstract', re.DOTALL)
_SCALAR = re.compile(r"Expected a (?:tuple|list)\. Got value: ([^\s\[{].*)$")
_UNION = re.compile(
    r"Does not validate against any of the Union subtypes.*?Errors: - "
    r"(?:Type .*? expects a function or a callable class: )?(.*?)"
    r"(?: - Expected a \S*NoneType\S*)?(?: Given value.*)?$"
)
_KIND = re.compile(r"Expected '(\S+)' to be a ((?:subclass of|function that returns) \w+)")
_ATTRIBUTE = re.compile(r"module '(\S+)' has no attribute '(\S+)'")
_MODULE = re.compile(r"No module named '(\S+)'")
_REMEDIES = {
    "subclass of Mixer": "; a cell becomes one in Recurrent(cell)",
    "function that returns Mixer": "; annotate what it returns",
}
REPLACED = {
    "optimizer": "the optimiser is AdamW, see --model.optimizer.lr, weight_decay, betas",
    "lr_scheduler": "the schedule is the optimiser's, see --model.optimizer.warmup, decay, final",
}
"""Options of Lightning's command line that would replace those of a task."""

_VALUE = re.compile(r'Parser key "([^"]+)":?\s*(.*)', re.DOTALL)


TRAINING = ("fit", "validate", "test", "predict")
"""Commands of Lightning, for all slices; users look for them among those of one, too."""


def explain(
    message: str, *, keys: Mapping[str, Any], classes: Collection[type], args: Sequence[str]
) -> str:
    """Reduce a jsonargparse message to one line.

    Args:
        message: The parser's message.
        keys: Keys that the parser knows, dotted, with their type hints.
        classes: Classes that configs may name, whose arguments are keys as well.
        args: The command line; files among its ``--config`` values are searched for the place.
    """
    concrete = [c for c in classes if not inspect.isabstract(c)]
    options = Options(keys, classes=concrete, words=_words(args))
    if hint := _replaced(message):
        return hint
    if found := _CLASS.search(message):
        name = next(group for group in found.groups() if group)
        names = [c.__name__ for c in concrete]
        if name in names:
            return f"{_place(name, args)}{name!r} is a class of another kind than is expected here"
        accepted = options.accepted(_flag_of(name, args)) or names
        near = _nearest(name.split(".")[-1], accepted)
        return f"{_place(name, args)}unknown class {name!r}{near}"
    if found := _OPTION.search(message):
        known = {part for key in keys for part in key.split(".")} | {"class_path", "init_args"}
        known |= {name for c in concrete for name in _arguments(c)}
        option = next(group for group in found.groups() if group).split("=")[0]
        if near := _near_on_the_command_line(option, options, args):
            return f"unknown key {option!r}; nearest: {near}"
        if owner := _class_of_option(option, concrete):
            return f"unknown key {option!r}; {owner.__name__} has {', '.join(_arguments(owner))}"
        wrong = [part for part in option.split(".") if part not in known] or option.split(".")[-1:]
        if wrong[0] in known:
            return f"{_place(wrong[0], args)}unknown key {option!r}: what it is given to has none"
        return f"{_place(wrong[0], args)}unknown key {option!r}{_nearest(wrong[0], known)}"
    if found := _CHOICE.search(message):
        choices = re.findall(r"[\w-]+", found[2])
        text = f"unknown choice {found[1]!r}{_nearest(found[1], choices)}, of {', '.join(choices)}"
        return text + (f"; there is paratime {found[1]}" if found[1] in TRAINING else "")
    if found := _ABSTRACT.search(message):
        base = found[2].split(".")[-1]
        names = sorted(c.__name__ for c in concrete if base in {b.__name__ for b in c.__mro__})
        return f"{found[1]}: name a class before its options, one of {', '.join(names)}"
    if found := _VALUE.search(message):
        at = f"{_place(found[1].split('.')[-1], args)}{found[1]}: "
        text = _flat(found[2], limit=2000)
        if kind := _KIND.search(text):
            return f"{at}expected a {kind[2]}, got {kind[1]}{_REMEDIES.get(kind[2], '')}"
        if attribute := _ATTRIBUTE.search(text):
            return f"{at}module {attribute[1]} has no {attribute[2]}"
        if module := _MODULE.search(text):
            return f"{at}no module {module[1]} here, nor on PYTHONPATH"
        text = _UNION.sub(r"\1", text)
        text = _SCALAR.sub(r"expected several values in brackets, as in [\1]", _flat(text))
        return f"{at}{text}"
    if "arguments are required" in message:
        message = _required(message, concrete)
    message = message.replace("Unexpected config:", "config: expected keys and values, got:")
    for name in _configs(args):
        message = message.replace("<unicode string>", name)
    return _flat(message)


def _required(message: str, concrete: Collection[type]) -> str:
    """Return what is missing as one types it; the parser of a class leaves out the first names."""
    text, _, missing = message.rpartition(": ")
    if ".model" in missing:
        names = ", ".join(f"--{name.split('.')[-1]}" for name in missing.split(", "))
        return f"{text}: {names}; or name a config with -c FILE"
    named = _named(concrete)
    found = []
    for name in missing.split(", "):
        flags = [flag for flag, kind in named.items() if name.split(".")[0] in _arguments(kind)]
        found.append(f"{flags[0]}.{name}" if flags else name)
    return f"{text}: {', '.join(found)}"


def _named(concrete: Collection[type]) -> dict[str, type]:
    """Return the classes that the command line names, by the option that does.

    Of those of one name it means the one whose neighbours are named, too.
    """
    words = _words(sys.argv)
    near = Counter(_slice(c) for c in concrete if c.__name__ in words)
    of = {c.__name__: c for c in sorted(concrete, key=lambda c: near[_slice(c)])}
    pairs = pairwise(sys.argv)
    return {flag: of[x] for flag, x in pairs if flag.startswith("--") and x in of}


def _slice(kind: type) -> str:
    return ".".join(kind.__module__.split(".")[:2])


def _class_of_option(option: str, concrete: Collection[type]) -> type | None:
    """Return the class that the command line names, and that an option was meant for."""
    typed = [flag for flag in _flags(sys.argv) if flag == option or flag.endswith(f".{option}")]
    parents = [f"--{flag.rpartition('.')[0]}" for flag in typed]
    return next((kind for flag, kind in _named(concrete).items() if flag in parents), None)


def _arguments(known: type) -> Iterable[str]:
    """Return the names of a class's arguments, none for one that Python did not write."""
    try:
        return inspect.signature(known).parameters
    except ValueError:
        return ()


def _flat(message: str, limit: int = 300) -> str:
    text = " ".join(message.replace("<class '", "").replace("'>", "").split())
    return text if len(text) <= limit else text[:limit] + " ..."


def _nearest(name: str, names: Iterable[str]) -> str:
    found = close(name, names)
    return f"; nearest: {', '.join(found)}" if found else ""


def _replaced(message: str) -> str | None:
    """Return what to give instead of an option of Lightning's that this command line has not."""
    found = re.search(r"argument --(\w+)", message)
    given = {flag.split(".")[0] for flag in _flags(sys.argv)} | ({found[1]} if found else set())
    names = [name for name in REPLACED if name in given]
    return f"unknown key {names[0]!r}; {REPLACED[names[0]]}" if names else None


def _near_on_the_command_line(option: str, options: Options, args: Sequence[str]) -> str:
    """Return the nearest options to one that was typed, empty if it was not, or none is near.

    The parser of a class knows its options without their first names.
    """
    typed = [flag for flag in _flags(args) if flag == option or flag.endswith(f".{option}")]
    if not typed:
        return ""
    flag = min(typed, key=len)
    whole = [other for other in _flags(sys.argv) if other.endswith(f".{flag}")]
    first = whole[0].removesuffix(flag) if whole and flag not in _flags(sys.argv) else ""
    near = [first + name for name in options.near(flag.replace("init_args.", ""))]
    return ", ".join(f"--{name}" if "." in name else name for name in near)


def _flags(args: Sequence[str]) -> list[str]:
    """Return the options of a command line, without dashes and values."""
    return [arg[2:].split("=")[0] for arg in args if arg.startswith("--")]


def _flag_of(value: str, args: Sequence[str]) -> str:
    """Return the option that the command line gives a value, empty if it does not."""
    for flag, given in pairwise([part for arg in args for part in arg.split("=", 1)]):
        if given == value and flag.startswith("--"):
            return flag[2:].removesuffix(".class_path").replace("init_args.", "")
    return ""


def _words(args: Sequence[str]) -> frozenset[str]:
    """Return the words of a command line and of its configs."""
    texts = [*args, *(Path(name).read_text(encoding="utf-8") for name in _configs(args))]
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def _place(word: str, args: Sequence[str]) -> str:
    """Return ``file:line: `` of the first config with the word, unless the command line has it."""
    if any(arg.startswith("--") and word in re.split(r"[.=]", arg[2:]) for arg in args):
        return ""
    for name in _configs(args):
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", line.split(" #")[0]):
                return f"{name}:{number}: "
    return ""


def not_text(args: Sequence[str], error: UnicodeDecodeError) -> InputError:
    """Return what is wrong with a file among words of a command line that is not in UTF-8."""
    files = [Path(part) for arg in args for part in (arg, arg.rpartition("=")[2])]
    named = [str(x) for x in files if x.is_file() and error.object in x.read_bytes()]
    at = f"byte {error.object[error.start]:#x} at place {error.start}"
    return InputError((named or ["config"])[0], "text in UTF-8", at, "save it in UTF-8")


def _configs(args: Sequence[str]) -> list[str]:
    """Return the files that the command line names as configs."""
    named = [name for flag, name in pairwise(args) if flag in ("-c", "--config")]
    named += [arg.split("=", 1)[1] for arg in args if arg.startswith(("-c=", "--config="))]
    return [name for name in named if Path(name).is_file()]
