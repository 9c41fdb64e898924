"""Environments of Gymnasium: how they are made, what they are, and their spaces as vectors."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from paratime.errors import InputError, check_at_least, describe_error, one_line
from paratime.io.code import code_digest, module_of, versions
from paratime.io.saved.trust import is_trusted
from paratime.world.data.episode import VECTOR
from paratime.world.data.spaces import (
    CLASSES,
    ActionCode,
    Choices,
    describe_space,
    leaves_of,
)

_log = logging.getLogger(__name__)

LIMIT = 1000
"""Steps after which an episode is cut short where an environment has no time limit."""

TRUSTED = "gymnasium.wrappers."
"""Where wrappers are that a file may name; those of other modules are a user's to name."""

WRAPPERS = {
    *("AddRenderObservation", "AddWhiteNoise", "AtariPreprocessing", "Autoreset", "ClipAction"),
    *("ClipReward", "DelayObservation", "DiscretizeAction", "DiscretizeObservation"),
    *("DtypeObservation", "FilterObservation", "FlattenObservation", "FrameStackObservation"),
    *("GrayscaleObservation", "MaxAndSkipObservation", "NormalizeObservation", "NormalizeReward"),
    *("ObstructView", "OrderEnforcing", "PassiveEnvChecker", "RepeatAction", "RescaleAction"),
    *("RescaleObservation", "ReshapeObservation", "ResizeObservation", "StickyAction"),
    *("TimeAwareObservation", "TimeLimit"),
}
"""Which of them a file may name: those that write, show and run nothing of their own."""


@dataclass(frozen=True)
class EnvironmentOptions:
    """How an environment is made from its id; plain values.

    Attributes:
        environment_args: Keyword arguments of the environment.
        max_episode_steps: Steps after which its episodes are cut short; None for its own limit.
        wrappers: Import paths of wrappers, the innermost first, or an ``entry_point`` with
            ``kwargs`` as in Gymnasium's specifications.
    """

    environment_args: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    wrappers: list[Any] = field(default_factory=list)

    @classmethod
    def given(
        cls,
        environment_args: Mapping[str, Any] | None,
        max_episode_steps: int | None,
        wrappers: list[Any] | None,
    ) -> "EnvironmentOptions":
        """Return checked options; None stands for none.

        Raises:
            InputError: Arguments that are no plain values, or no such limit.
        """
        found = cls({**(environment_args or {})}, max_episode_steps, [*(wrappers or [])])
        if max_episode_steps is not None:
            check_at_least(1, max_episode_steps=max_episode_steps)
        try:
            json.dumps(asdict(found))
        except (TypeError, ValueError) as error:
            raise InputError(
                "environment_args and wrappers",
                expected="plain values, as in JSON",
                got=one_line(error),
                remedy="register an environment that has them",
            ) from None
        return found

    def over(self, others: "EnvironmentOptions") -> "EnvironmentOptions":
        """Return these options, with those of others where they say nothing."""
        return EnvironmentOptions(
            others.environment_args | self.environment_args,
            self.max_episode_steps or others.max_episode_steps,
            self.wrappers or others.wrappers,
        )

    def text(self) -> str:
        """Return what differs from the environment's own settings, empty if nothing does."""
        given = [f"{key}={value}" for key, value in self.environment_args.items()]
        if self.max_episode_steps is not None:
            given.append(f"max_episode_steps={self.max_episode_steps}")
        return ", ".join([*given, *(_wrapper(x)[0].rpartition(".")[2] for x in self.wrappers)])


def make_environment(environment: str, options: EnvironmentOptions | None = None) -> Any:
    """Make an environment of Gymnasium, or of our own: ``paratime/TMaze64-v0`` and other lengths.

    Actions and observations that are not plain vectors become so (``spaces``). An episode ends
    after 1,000 steps where neither the environment nor the options have a limit.

    Args:
        environment: Gymnasium's id; ``module:id`` imports a module first.
        options: How it is made.

    Raises:
        InputError: Gymnasium is not installed, or knows no such id, or it needs other packages, or
            it does not accept the options.
    """
    gymnasium = _gymnasium()
    from paratime.world.data.sources.tmaze import register_tmaze

    register_tmaze(environment)
    options = options or EnvironmentOptions()
    try:
        world = gymnasium.make(environment, options.max_episode_steps, **options.environment_args)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(
            f"environment {environment}",
            expected="the packages that it needs",
            got=one_line(error),
            remedy="install it",
        ) from None
    except gymnasium.error.Error as error:
        raise InputError(
            "environment",
            expected="an id that Gymnasium knows",
            got=f"{environment!r}: {one_line(error)}",
            remedy="correct it",
        ) from None
    except Exception as error:
        if not options.environment_args:
            raise
        raise InputError(
            "environment_args",
            expected=f"arguments of {environment}",
            got=describe_error(error),
            remedy="correct them",
        ) from None
    world = _limited(world)
    for each in options.wrappers:
        world = _wrapped(world, *_wrapper(each))
    return vectors(world)


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError:
        raise InputError(
            "gymnasium", "the package", "none installed", "pip install 'paratime[world]'"
        ) from None
    return gymnasium


def _limited(world: Any) -> Any:
    """Return an environment with a time limit, its own or ``LIMIT``."""
    if world.spec.max_episode_steps is not None:
        return world
    _log.warning(
        "%s has no time limit: its episodes end after %s steps at the latest; "
        "max_episode_steps sets another limit",
        world.spec.id,
        f"{LIMIT:,}",
    )
    return _gymnasium().wrappers.TimeLimit(world, LIMIT)


def _wrapper(given: Any) -> tuple[str, dict[str, Any]]:
    """Return the import path and the arguments of a wrapper."""
    if isinstance(given, str):
        return given.replace(":", "."), {}
    if isinstance(given, Mapping) and isinstance(given.get("entry_point"), str):
        return given["entry_point"].replace(":", "."), dict(given.get("kwargs") or {})
    raise InputError(
        "wrappers", "import paths, or entry_point and kwargs", repr(given), "correct it"
    )


def _wrapped(world: Any, path: str, arguments: Mapping[str, Any]) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module or TRUSTED[:-1]), name)(world, **arguments)
    except (ImportError, AttributeError, TypeError, AssertionError, ValueError) as error:
        raise InputError(
            f"wrapper {path}",
            expected="a wrapper of this environment, as in mine.MyWrapper",
            got=describe_error(error),
            remedy="correct its path or its arguments",
        ) from None


def options_of(spec: Mapping[str, Any]) -> EnvironmentOptions:
    """Return the options of a specification of Gymnasium in plain values, as files hold it.

    Wrappers that only record or show are left out.
    """
    wrappers = []
    for each in spec.get("additional_wrappers") or ():
        path = str(each.get("entry_point", "")).replace(":", ".")
        if not path.rpartition(".")[2].startswith(("Record", "Render", "Human")):
            wrappers.append({"entry_point": path, "kwargs": each.get("kwargs")})
    limit = spec.get("max_episode_steps")
    return EnvironmentOptions(
        {**(spec.get("kwargs") or {})}, None if limit is None else int(limit), wrappers
    )


def spec_json(environment: str, options: EnvironmentOptions) -> str:
    """Return Gymnasium's specification of an environment as JSON; as far as JSON can hold it.

    Raises:
        InputError: Gymnasium would not accept the id.
    """
    registration = _gymnasium().envs.registration
    wrappers = [_wrapper(x) for x in options.wrappers]
    given = {
        "max_episode_steps": options.max_episode_steps,
        "kwargs": options.environment_args,
        "additional_wrappers": tuple(
            registration.WrapperSpec(path.rpartition(".")[2], ":".join(path.rsplit(".", 1)), x)
            for path, x in wrappers
        ),
    }
    try:
        id_alone = registration.EnvSpec(environment, **given)
        registered = _gymnasium().registry.get(environment)
    except _gymnasium().error.Error as error:
        raise InputError(
            "environment", "an id as of Gymnasium", repr(environment), str(error)
        ) from None
    if registered is None:
        return str(id_alone.to_json())
    given["kwargs"] = registered.kwargs | options.environment_args
    given["max_episode_steps"] = options.max_episode_steps or registered.max_episode_steps
    try:
        return str(replace(registered, **given).to_json())
    except (TypeError, ValueError):  # made by a function, which JSON cannot hold
        return str(id_alone.to_json())


def check_trusted(environment: str, options: EnvironmentOptions) -> None:
    """Refuse an environment of data that would import code which the user did not name.

    Raises:
        InputError: Its id names a module, or a wrapper is none of Gymnasium's.
    """
    module = environment.rpartition(":")[0]
    if module and not is_trusted(module):
        raise InputError(
            f"environment {environment} of the data",
            expected="an id alone",
            got=f"a module, {module}",
            remedy=f"choose it yourself: --environment {environment}, or --trust {module}",
        )
    for given in options.wrappers:
        path = _wrapper(given)[0]
        module, _, name = path.rpartition(".")
        complete = isinstance(given, str) or given.get("kwargs") is not None
        known = path.startswith(TRUSTED) and name in WRAPPERS
        if not complete or not (known or is_trusted(module)):
            raise InputError(
                f"wrapper {path} of the data",
                expected=f"one of {TRUSTED[:-1]}, with its arguments",
                got="another, which data may not choose",
                remedy=f'choose it yourself: --wrappers "[{path}]"',
            )


def identity(
    world: Any, environment: str = "", options: EnvironmentOptions | None = None
) -> dict[str, Any]:
    """Return everything that episodes of an environment follow from, in plain values.

    These are its specification and options, its spaces, the code of modules that are not
    installed, and the versions of packages that are; not files or variables that it reads.

    Args:
        world: The environment.
        environment: The id that it was made from, with the module that this names.
        options: How it was made.
    """
    options = options or EnvironmentOptions()
    layers = [world]
    while layers[-1] is not world.unwrapped:
        layers.append(layers[-1].env)
    spec = world.spec
    made_by = [spec.entry_point] if callable(spec.entry_point) else []
    made_by += [*spec.kwargs.values(), *(base for x in layers for base in type(x).__mro__)]
    paths = [f"{environment.rpartition(':')[0]}.", *(_wrapper(x)[0] for x in options.wrappers)]
    if isinstance(spec.entry_point, str):
        paths.append(spec.entry_point.replace(":", "."))
    named = {path.rpartition(".")[0] for path in paths} - {""}
    modules = sorted({module_of(x) for x in made_by} | named)
    return {
        "spec": _stable(spec),
        "options": _stable(options),
        "layers": [type(x).__qualname__ for x in layers],
        "action_space": _stable(describe_space(world.action_space)),
        "observation_space": _stable(describe_space(world.observation_space)),
        "code": code_digest(modules),
        "versions": versions([*modules, "gymnasium", "numpy"]),
    }


def _stable(value: Any) -> Any:
    """Return a value as plain values that are the same in every process."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _stable(vars(value))
    if isinstance(value, Mapping):
        return [[str(key), _stable(x)] for key, x in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple | np.ndarray):
        return [_stable(x) for x in (value.tolist() if isinstance(value, np.ndarray) else value)]
    named = value if callable(value) and hasattr(value, "__qualname__") else type(value)
    text = repr(value)
    return [module_of(named), named.__qualname__, "" if " at 0x" in text else text]


def action_code(world: Any) -> ActionCode:
    """Return how actions of an environment of ``make_environment`` become vectors."""
    code = getattr(world, "action_code", None)
    return code if isinstance(code, ActionCode) else ActionCode(describe_space(world.action_space))


def action_choices(world: Any) -> int | None:
    """Return the number of choices of an environment's actions, None if they are vectors."""
    return action_code(world).choices


def vectors(world: Any) -> Any:
    """Return an environment whose actions and observations are vectors, itself if they are."""
    code = ActionCode(describe_space(world.action_space))
    about = describe_space(world.observation_space)
    if code.plain and not _needs_parts(about):
        return world
    from paratime.world.data.vectors import Vectors

    return Vectors(world, code, about)


def _needs_parts(about: Mapping[str, Any]) -> bool:
    """Return whether observations are nested, or hold classes, or what images may be taken for."""
    known = leaves_of(about)
    parts = about.get("subspaces", {VECTOR: about})
    flat = isinstance(parts, Mapping) and known.keys() == parts.keys()
    leaves = known.values()
    return not flat or any(
        x.size <= CLASSES if isinstance(x, Choices) else x.mistakable for x in leaves
    )
