"""The sizes of models: every mixer gets as many parameters as the first one."""

from collections.abc import Callable
from pathlib import Path

from lightning.pytorch.cli import LightningCLI
from tqdm import tqdm

from paratime.cli.parser import Parser
from paratime.compare.config import Comparison, DomainConfig, Mixer, label
from paratime.compare.domains import DOMAINS, Build
from paratime.compare.results import Key
from paratime.compare.run import Job, encoder_of
from paratime.errors import InputError
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import count_parameters

TOLERANCE = 0.02
"""Largest difference from the first mixer's parameters, as a share of them."""


def jobs_of(comparison: Comparison, keys: list[Key], build: Build) -> list[Job]:
    """Return the jobs of some runs; the data of their domains is prepared here, once.

    Raises:
        InputError: A config that is not one of its domain, or sizes that cannot be matched.
    """
    sizes = {}
    names = dict.fromkeys(key.domain for key in keys)
    for name in tqdm(names, "preparing", leave=False, disable=None):
        sizes[name] = matched(name, comparison.domains[name], comparison.mixers, build)
    return [_job(comparison, key, *sizes[key.domain][key.mixer]) for key in keys]


def _job(comparison: Comparison, key: Key, mlp_size: int, parameters: int) -> Job:
    domain = comparison.domains[key.domain]
    return Job(
        key,
        Path(comparison.out),
        domain.options(comparison.labelled[key.mixer], mlp_size, key.seed),
        {
            "width": domain.width,
            "depth": domain.depth,
            "mlp_size": mlp_size,
            "steps": domain.steps,
            "config": domain.config,
        },
        domain.digest,
        parameters,
        comparison.threads,
    )


def matched(
    name: str, domain: DomainConfig, mixers: list[Mixer], build: Build
) -> dict[str, tuple[int, int]]:
    """Return ``mlp_size`` and number of parameters by label, and prepare the data.

    Args:
        name: Of the domain.
        domain: Its config and sizes.
        mixers: As in a comparison; the others are brought to the size of the first one.
        build: Builds a run.
    """
    cli = build(domain.options(mixers[0], domain.mlp_size, seed=0))
    if not isinstance(cli.model, DOMAINS[name].task):
        raise InputError(
            f"domains.{name}",
            expected=f"a config of {DOMAINS[name].task.__name__}",
            got=type(cli.model).__name__,
            remedy="name another config",
        )
    cli.datamodule.prepare_data()
    cli.model.specify(cli.datamodule.spec)
    target = count_parameters(cli.model)
    rest = target - count_parameters(encoder_of(cli.model))
    found = {label(mixers[0]): (domain.mlp_size, target)}
    for mixer in mixers[1:]:
        encoders = Encoders(cli, mixer)
        size = size_for(target - rest, encoders.count)
        parameters = rest + encoders.count(max(size, 1))
        if size < 1 or abs(parameters - target) > TOLERANCE * target:
            within = f"{target:,} parameters within {TOLERANCE:.0%}"
            raise InputError(
                f"{label(mixer)} on {name}",
                expected=f"{within}, as with {label(mixers[0])}",
                got=f"{parameters:,} or more",
                remedy=f"raise mlp_size above {domain.mlp_size}, or the width",
            )
        found[label(mixer)] = size, parameters
    return found


def size_for(parameters: int, count: Callable[[int], int]) -> int:
    """Return the ``mlp_size`` that comes closest to a number of parameters; below 1 if none does.

    Args:
        parameters: The target.
        count: Returns it for an ``mlp_size``, on which it depends linearly.
    """
    least, more = count(1), count(2)
    return 1 + round((parameters - least) / (more - least))


class Encoders:
    """Encoders like a model's, around another mixer.

    Args:
        cli: With the config of the model.
        mixer: The mixer.
    """

    def __init__(self, cli: LightningCLI, mixer: Mixer) -> None:
        self._parser = Parser(prog="paratime compare")
        self._parser.add_class_arguments(Encoder, "encoder", fail_untyped=False)
        given = cli.config.model.init_args.encoder.as_dict() | {"mixer": mixer}
        self._config = self._parser.parse_object({"encoder": given})

    def count(self, mlp_size: int) -> int:
        """Return the number of parameters with an ``mlp_size``."""
        self._config.encoder.mlp_size = mlp_size
        return count_parameters(self._parser.instantiate_classes(self._config).encoder)
