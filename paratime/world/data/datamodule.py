"""The data module of world models: trajectories, split by episode."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from torch.utils.data import DataLoader

from paratime.errors import InputError, check_at_least
from paratime.training.base import DataModule
from paratime.training.samplers import ResumableLoader, lanes
from paratime.world.data.episode import Episode, Layout, aligned, fingerprint
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.windows import PackedWindows, Rows, Shuffled, Whole, padded

Mode = Literal["packed", "stream", "pad", "episode"]


@dataclass(frozen=True)
class Moments:
    """What training episodes say of the size of numbers; lists of O, of A, or of one.

    Attributes:
        observation: Mean and standard deviation.
        change: Likewise of an observation's change in a step.
        reward: Likewise of rewards.
        lowest: Least observation.
        highest: Greatest observation.
        action_lowest: Least action.
        action_highest: Greatest action.
    """

    observation: tuple[list[float], list[float]]
    change: tuple[list[float], list[float]]
    reward: tuple[list[float], list[float]]
    lowest: list[float]
    highest: list[float]
    action_lowest: list[float]
    action_highest: list[float]

    @classmethod
    def of(cls, episodes: Sequence[Rows]) -> "Moments":
        """Compute them from aligned episodes."""
        observation = np.concatenate([x["observation"] for x in episodes])
        change = np.concatenate([np.diff(x["observation"], axis=0) for x in episodes])
        reward = np.concatenate([x["prev_reward"][1:, None] for x in episodes])
        action = np.concatenate([x["prev_action"][1:] for x in episodes])
        return cls(
            _moments(observation),
            _moments(change),
            _moments(reward),
            observation.min(0).tolist(),
            observation.max(0).tolist(),
            action.min(0).tolist(),
            action.max(0).tolist(),
        )


def _moments(rows: np.ndarray) -> tuple[list[float], list[float]]:
    mean, spread = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    return mean.tolist(), np.where(spread > 1e-9 * np.abs(mean), spread, 1.0).tolist()


class TrajectoryData(DataModule):
    """Trajectories: whole episodes are held out for validation and testing, never steps of one.

    Args:
        source: Where episodes come from.
        sequence_length: Transitions of a training window.
        batch_size: Windows, or episodes, a batch.
        mode: How training lays out episodes: ``packed`` end to end in windows, so that every step
            is used; ``stream`` likewise, each window behind the one before it, whose state goes
            on (truncated back-propagation through time); ``pad`` whole, with zeros behind their
            ends; ``episode`` whole, one a batch.
        validation: Share of the episodes held out for validation.
        test: Share held out for testing.
        seed: Seed of the split, and of the order.
        num_workers: Processes that load batches.

    Raises:
        InputError: Unreadable episodes, or too few of them (when the data is set up).
    """

    def __init__(
        self,
        source: Source,
        sequence_length: int = 64,
        batch_size: int = 16,
        mode: Mode = "packed",
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, sequence_length=sequence_length, batch_size=batch_size)
        check_at_least(0, seed=seed, num_workers=num_workers)
        if mode not in get_args(Mode):
            got, remedy = repr(mode), "correct it"
            raise InputError("mode", f"one of {', '.join(get_args(Mode))}", got, remedy)
        if min(validation, test) < 0 or validation + test >= 1:
            expected, got = "shares that leave some for training", f"{validation} and {test}"
            raise InputError("validation and test", expected, got, "lower them")
        self.source, self.mode = source, mode
        self.sequence_length, self.seed, self.num_workers = sequence_length, seed, num_workers
        self.batch_size = 1 if mode == "episode" else batch_size
        self._shares = validation, test

    @cached_property
    def recording(self) -> Recording:
        """All episodes, read once a process."""
        return self.source.read()

    @cached_property
    def layout(self) -> Layout:
        """What the episodes have in common."""
        return Layout.of(self.recording.episodes, self.recording.actions)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a task must know of the trajectories, under that name."""
        rows = self._rows("train")
        moments = asdict(Moments.of(rows))
        if self.layout.discrete:  # of choices that never occur, too
            moments["action_lowest"] = [0.0] * self.layout.action
            moments["action_highest"] = [1.0] * self.layout.action
        about = {
            "environment": self.recording.environment,
            "observation": {key: list(shape) for key, shape in self.layout.observation.items()},
            "action": self.layout.action,
            "discrete": self.layout.discrete,
            "moments": moments,
            "trained_on": [fingerprint(episode) for episode in rows],
        }
        return {"trajectories": about}

    @cached_property
    def splits(self) -> dict[str, list[Episode]]:
        """Episodes by split."""
        episodes = self.recording.episodes
        order = np.random.default_rng(self.seed).permutation(len(episodes))
        held = [int(np.ceil(share * len(episodes))) for share in self._shares]
        if len(episodes) <= sum(held):
            expected, got = f"more than the {sum(held)} that are held out", str(len(episodes))
            raise InputError("episodes", expected, got, "give more, or hold out none")
        parts = np.split(order, np.cumsum(held))
        names = ("val", "test", "train")
        return {n: [episodes[i] for i in sorted(x)] for n, x in zip(names, parts, strict=True)}

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled windows, or whole episodes, in an order that is f(seed, epoch)."""
        if self.mode in ("pad", "episode"):
            return self._whole("train", shuffle=True)
        windows = PackedWindows(self._rows("train"), self.sequence_length)
        if self.mode == "stream":
            order: Any = lanes(len(windows), self.batch_size, self.seed, self.trainer)
        else:
            order = Shuffled(len(windows), self.seed)
        return ResumableLoader(
            windows,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return whole validation episodes, padded."""
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return whole test episodes, padded."""
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return whole test episodes, padded."""
        return self._whole("test")

    def _whole(self, split: str, shuffle: bool = False) -> DataLoader[Any]:
        episodes = Whole(self._rows(split))
        return ResumableLoader(
            episodes,
            batch_size=self.batch_size,
            collate_fn=padded,
            num_workers=self.num_workers,
            sampler=Shuffled(len(episodes), self.seed) if shuffle else range(len(episodes)),
        )

    def _rows(self, split: str) -> list[Rows]:
        return [aligned(episode, self.layout) for episode in self.splits[split]]
