"""How far ahead a model can be trusted: rollouts that feed themselves, beside what happened."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from paratime.world.metrics import HORIZONS, ImaginationError
from paratime.world.model import Prediction, WorldModel
from paratime.world.windows import Rows, Whole, padded


def imagined(
    network: WorldModel, batch: dict[str, Tensor], context: int, horizon: int
) -> tuple[Prediction, Tensor, Tensor, Tensor]:
    """Roll out the true actions behind a context.

    Args:
        network: The model.
        batch: Whole episodes, one a row, padded: (B, R, ...).
        context: Rows that are seen; the rollout goes on from the last of them.
        horizon: Steps of the rollout, at most.

    Returns:
        Prediction (B, H, ...), true observations (B, H, O), the last one seen (B, O), and which
        steps there are, bool (B, H), where H is at most ``horizon``.
    """
    rows = batch["observation"].shape[1]
    context = min(context, rows - 1)
    last = min(context + horizon, rows)
    state = None
    if context > 1:
        seen = {key: batch[key][:, :context] for key in ("observation", "prev_action", "is_first")}
        state = network(seen)[1]
    start = batch["observation"][:, context - 1]
    actions = batch["prev_action"][:, context:last]
    found = network.imagine(start, actions, state)[0]
    return found, batch["observation"][:, context:last], start, batch["mask"][:, context:last]


def horizon_table(network: WorldModel, episodes: Sequence[Rows], horizon: int, every: int) -> str:
    """Return an aligned table of errors by horizon, of rollouts from all over the episodes.

    Beside the model stand persistence, and the model with the actions of another episode, which it
    should suffer from; ``sensitivity`` is how many times larger its error is then, nan of a single
    episode.
    """
    scores = {name: ImaginationError(horizon, network.observation[1]) for name in ("true", "other")}
    dataset, pieces = Whole(episodes), -(-len(episodes) // 32)
    for part in tqdm(
        np.array_split(range(len(episodes)), pieces), desc="rollouts", disable=pieces == 1
    ):
        batch = padded([dataset[int(i)] for i in part])
        for context in range(1, max(2, batch["mask"].shape[1] - horizon), every):
            for name, metric in scores.items():
                given = batch if name == "true" else with_actions_of_others(batch)
                with torch.inference_mode():
                    metric.update(*imagined(network, given, context, horizon))
    true, other = (metric.compute() for metric in scores.values())
    lines = [f"{'steps':>6} {'nRMSE':>8} {'persist':>8} {'skill':>8} {'sensitivity':>12}"]
    for h in HORIZONS:
        if (error := true.get(f"nrmse@{h}")) is not None:
            skill, worse = true[f"skill@{h}"], other[f"nrmse@{h}"] / error.clamp(min=1e-12)
            if len(episodes) < 2:
                worse = torch.full_like(worse, torch.nan)
            persistence = error / (1 - skill).clamp(min=1e-12)
            lines.append(f"{h:>6} {error:>8.4f} {persistence:>8.4f} {skill:>8.3f} {worse:>12.2f}")
    lines.append(f"{true['outside']:.1%} of the rollouts left the range of the training data")
    return "\n".join(lines)


def with_actions_of_others(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return episodes with the actions of the next one in the batch."""
    return batch | {"prev_action": batch["prev_action"].roll(1, 0)}
