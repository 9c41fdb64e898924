"""Small world models, and the episodes that they read."""

import numpy as np
import torch
from torch import Tensor, nn

from paratime import Encoder, ParaGRU
from paratime.layers.mixer import Mixer
from paratime.testing import TOLERANCE
from paratime.world.data.episode import Layout, align_episode, make_episode
from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.data.windows import PackedWindows, Whole, padded
from paratime.world.model.dynamics import DynamicsNetwork
from paratime.world.model.rssm import RSSM, Categorical, Gaussian, Latent

LENGTHS = (9, 3, 14)
CLOSE = TOLERANCE[torch.float64].value


def rows() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    made = [
        make_episode(
            f"e{number}",
            random.normal(size=(steps + 1, 3)).cumsum(0),
            random.normal(size=(steps, 2)),
            random.normal(size=steps),
            number == 1,
        )
        for number, steps in enumerate(LENGTHS)
    ]
    return [align_episode(episode, Layout.of(made)) for episode in made]


SPEC = TrajectorySpec(Moments.of(rows()))


def network(mixer: type[Mixer] = ParaGRU, **options) -> DynamicsNetwork:
    torch.manual_seed(0)
    made = DynamicsNetwork(Encoder(8, 2, mixer, mlp_size=8), SPEC, **options).double().eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


LATENTS: dict[str, Latent] = {"classes": Categorical(3, 4), "numbers": Gaussian(5)}


def latent_network(latent: str = "classes", recurrent: bool = False) -> RSSM:
    torch.manual_seed(0)
    made = RSSM(Encoder(8, 2, mlp_size=8), SPEC, LATENTS[latent], recurrent_posterior=recurrent)
    for parameter in made.double().parameters():
        nn.init.normal_(parameter, std=0.4)
    return made.eval()


def double(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: x.double() if x.is_floating_point() else x for k, x in batch.items()}


def whole() -> dict[str, Tensor]:
    return double(padded([Whole(rows())[i] for i in range(len(LENGTHS))]))


def packed() -> tuple[dict[str, Tensor], list[int]]:
    """Return all episodes in one window, and which of them lie where."""
    windows = PackedWindows(rows(), sum(LENGTHS) + len(LENGTHS) - 1)
    order = windows._order(5)[0].tolist()
    return double({key: x[None] for key, x in windows[5, 0, False].items()}), order
