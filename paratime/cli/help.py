"""The help of a parser as a page to read: what matters first, one aligned column, plain words."""

import inspect
import re
import sys
import textwrap
import types
from argparse import SUPPRESS, Action
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser
from jsonargparse._required import restore_suppressed_required

from paratime.cli.arguments import TRUST, TRUST_HELP

WIDTH, COLUMN = 100, 30
"""Characters of a line, and those before the descriptions."""

BASES = {"Callback", "Checkpoint", "ProgressBar", "WeightAveraging"}
"""Classes to derive others from, like those called Base, although Python finds them concrete."""

IN_PYTHON = {"InMemory", "LambdaCallback"}
"""Classes whose arguments are objects, which no command line can name."""

COMMON = {
    "config": "Read options from a file in YAML; later options take precedence.",
    "print_config": "Print all options as such a file, and exit.",
    "help": "Print this page, and exit.",
}
"""Options of every command, which stand at the end."""

WORDS = {int: "INT", float: "FLOAT", str: "TEXT", timedelta: "TIME", Any: "VALUE"}

Groups = Mapping[str, Mapping[str, str]]
"""Descriptions by option, by heading; an empty one leaves the parser's."""


def help_text(parser: ArgumentParser, groups: Groups | None = None, rest: str = "") -> str:
    """Return the help of a command.

    Args:
        parser: Its parser.
        groups: Headings, with the options under each; by default the parser's own groups.
        rest: Heading of options that no group names, which are listed by name alone.
    """
    with restore_suppressed_required():
        return _page(parser, groups, rest)


def _page(parser: ArgumentParser, groups: Groups | None, rest: str) -> str:
    described = [action for action in parser._actions if _is_shown(action)]
    classes = _classes(parser)
    sections = [("", _commands(parser))] if parser._subcommands_action else []
    if groups is None:
        sections += _own_sections(parser, described, classes)
    else:
        sections += _chosen_sections(groups, described, classes)
    named = [option for options in (groups or {}).values() for option in options]
    left = [f"--{x.dest}" for x in described if x.dest not in {*named, *COMMON}] if groups else []
    parts = [_usage(parser, described), _paragraphs(parser.description)]
    if left:
        sections.append((rest, textwrap.fill(", ".join(left), WIDTH, **_INDENTED)))
    sections.append(("Common options", _ends(described)))
    parts += [f"{title}:\n{body}" if title else body for title, body in sections if body]
    parts.append(_hint(classes, named or classes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _hint(classes: Mapping[str, tuple[type, ...]], order: Iterable[str]) -> str:
    """Return how to show the options of a class, '' if there are none."""
    for option in order:
        for kind in _offered(classes.get(option, ()), None):
            return f"--{option}.help {kind.__name__} shows the options of that class; and so on."
    return ""


_ANY_CLASS = "One or more arguments specifying"
"""The beginning of jsonargparse's description of an option that is nothing but a class."""

_INDENTED: Any = {
    "initial_indent": "  ",
    "subsequent_indent": "  ",
    "break_on_hyphens": False,
}


def _is_shown(action: Action) -> bool:
    """Return whether an action is an option to read about, and not one of the parser's devices."""
    name = _name(action)
    config = type(action).__name__ == "_ActionConfigLoad"
    return bool(name) and action.help != SUPPRESS and not config and not name.endswith(".help")


def _name(action: Action) -> str:
    """Return the longest spelling of an option, '' of what is none."""
    names = [x for x in action.option_strings if not x.endswith("+")]
    return max(names, key=len, default="")


def _classes(parser: ArgumentParser) -> dict[str, tuple[type, ...]]:
    """Return the classes that options name subclasses of, by option."""
    helps = [x for x in parser._actions if _name(x).endswith(".help")]
    found = {x.dest.removesuffix(".help"): (x, getattr(x, "_help_types", ())) for x in helps}
    return {name: kinds for name, (x, kinds) in found.items() if x.nargs != 0}


def _commands(parser: ArgumentParser) -> str:
    """Return the subcommands, each with the first line of its description."""
    action: Any = parser._subcommands_action
    choices: dict[str, ArgumentParser] = action.choices
    about = {name: str(x.description or "").strip().split("\n")[0] for name, x in choices.items()}
    return "Commands:\n" + "\n".join(_row(name, text) for name, text in about.items())


def _usage(parser: ArgumentParser, described: Sequence[Action]) -> str:
    prog = " ".join(parser.prog.replace("[options]", "").split())
    if getattr(parser, "_inner_parser", False):
        return ""
    if parser._subcommands_action:
        return f"usage: {prog} COMMAND [options]"
    needed = [f"{_name(x)} {_metavar(x)}" for x in described if _is_required(parser, x)]
    text = f"usage: {' '.join([prog, *needed])} [options]"
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)


def _is_required(parser: ArgumentParser, action: Action) -> bool:
    return action.required or action.dest in parser._extra_required_keys


def _own_sections(
    parser: ArgumentParser, described: Sequence[Action], classes: Mapping[str, tuple[type, ...]]
) -> Iterator[tuple[str, str]]:
    """Yield the groups of a parser, required options first, and those of every command last."""
    ends = [x for x in described if x.dest in COMMON]
    for group in parser._action_groups:
        own = [x for x in group._group_actions if x in described and x not in ends]
        own.sort(key=lambda x: not _is_required(parser, x))
        title = "Options" if group.title in ("options", "optional arguments") else group.title
        yield _plain(str(title or "")), "\n".join(_option(x, parser, classes) for x in own)


def _chosen_sections(
    groups: Groups, described: Sequence[Action], classes: Mapping[str, tuple[type, ...]]
) -> Iterator[tuple[str, str]]:
    by_name = {x.dest: x for x in described}
    for title, options in groups.items():
        rows = [
            _option(by_name[name], None, classes, text)
            for name, text in options.items()
            if name in by_name
        ]
        yield title, "\n".join(rows)


def _ends(described: Sequence[Action]) -> str:
    by_name = {x.dest: x for x in described}
    rows = [_row(_left(by_name[x]), COMMON[x]) for x in COMMON if x in by_name]
    return "\n".join([*rows, _row(f"{TRUST} MODULE", TRUST_HELP)] if rows else [])


def _option(
    action: Action,
    parser: ArgumentParser | None,
    classes: Mapping[str, tuple[type, ...]],
    text: str = "",
) -> str:
    """Return an option with its description, default, and the classes that it may name."""
    parts = [text or _plain(str(action.help or ""))]
    if parts[0].startswith(_ANY_CLASS):
        parts = ["A class, whose options follow."]
    if parser is not None and _is_required(parser, action):
        parts.append("Required.")
    elif default := _default(action.default):
        parts.append(f"Default: {default}.")
    if offered := [x.__name__ for x in _offered(classes.get(action.dest, ()), _given(action))]:
        parts.append(f"Classes: {', '.join(offered)}.")
    return _row(_left(action), " ".join(part for part in parts if part))


def _row(left: str, text: str) -> str:
    """Return a description next to its option, or below one that is long."""
    begin = f"  {left}"
    lines = textwrap.wrap(text, WIDTH - COLUMN, break_on_hyphens=False, break_long_words=False)
    if len(begin) < COLUMN - 1 and lines:
        begin, lines = f"{begin:<{COLUMN}}{lines[0]}", lines[1:]
    return "\n".join([begin, *(" " * COLUMN + line for line in lines)])


def _left(action: Action) -> str:
    short = [x for x in action.option_strings if len(x) == 2 and x != _name(action)]
    return ", ".join([*short, f"{_name(action)} {_metavar(action)}".strip()])


def _metavar(action: Action) -> str:
    if action.dest == "config":
        return "FILE"
    hint = getattr(action, "_typehint", getattr(action, "type", None))
    if action.nargs == 0 or action.dest == "print_config":
        return ""
    return _word(hint)


def _word(hint: Any) -> str:
    """Return what to write in the place of a value: INT, {true,false}, CLASS, ..."""
    origin, inner = get_origin(hint), [x for x in get_args(hint) if x is not type(None)]
    if hint in WORDS:
        return WORDS[hint]
    if hint is bool:
        return "{true,false}"
    if origin is Literal:
        return f"{{{','.join(map(str, inner))}}}"
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(map(_word, inner))
        return "|".join(words) if len(words) < 3 else "VALUE"
    if origin is Callable:
        return "CLASS" if inner[-1] is not Any else "FUNCTION"
    if origin in (dict, Mapping):
        return "KEYS"
    if origin is not None:
        return f"[{_word(inner[0])},...]"
    if isinstance(hint, type) and issubclass(hint, PathLike):
        return "FILE"
    return "CLASS" if isinstance(hint, type) else "VALUE"


def _given(action: Action) -> int | None:
    """Return how many arguments an option's callable class is given later, None if it is none."""
    hint = getattr(action, "_typehint", None)
    return len(get_args(hint)[0]) if get_origin(hint) is Callable else None


def _offered(kinds: Sequence[type], given: int | None) -> list[type]:
    """Return the classes that an option may name: public, concrete ones that can be built."""
    found = dict.fromkeys(kind for base in kinds for kind in _subclasses(base))
    whole = [x for x in found if not inspect.isabstract(x) and _is_public(x)]
    return sorted(
        (x for x in whole if given is None or _needed(x) <= given), key=lambda x: x.__name__
    )


def _subclasses(base: type) -> Iterator[type]:
    yield base
    below: list[type] = type.__subclasses__(base)
    for kind in below:
        yield from _subclasses(kind)


def _is_public(kind: type) -> bool:
    """Return whether a package exports a class for use, not for other classes to derive from."""
    if kind.__name__ in BASES | IN_PYTHON or kind.__name__.startswith("Base"):
        return False
    parents = kind.__module__.split(".")
    packages = [".".join(parents[:n]) for n in range(1, len(parents))]
    names = [getattr(sys.modules.get(x), "__all__", ()) for x in packages]
    return any(kind.__name__ in x for x in names)


def _needed(kind: type) -> int:
    """Return the number of arguments without defaults of a class."""
    parameters = inspect.signature(kind).parameters.values()
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(x.default is x.empty and x.kind not in fixed for x in parameters)


def _default(value: Any) -> str:
    """Return a default in plain words, '' for none."""
    if value in (None, SUPPRESS, "", [], ()):
        return ""
    if hasattr(value, "class_path"):
        return str(value.class_path).rpartition(".")[2]
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _plain(text: str) -> str:
    """Return a description without the markup of documentation."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return " ".join(text.replace("``", "").split())


def _paragraphs(text: str | None) -> str:
    parts = (_plain(part) for part in re.split(r"\n\s*\n", text or ""))
    return "\n\n".join(textwrap.fill(part, WIDTH) for part in parts)
