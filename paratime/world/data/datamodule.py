"""The data module of world models: trajectories, split by episode."""

from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from paratime.errors import InputError, check_at_least
from paratime.training.base import DataModule
from paratime.training.batches.loading import ResumableLoader
from paratime.training.batches.samplers import ShuffledSampler, contiguous_sampler, share_of
from paratime.training.batches.sharing import evaluation_loader
from paratime.world.data.dependence import misplaced
from paratime.world.data.episode import ROW, Episode, Layout, align_episode
from paratime.world.data.identity import fingerprints, same_episodes
from paratime.world.data.sources.base import Recording, Source, source_options
from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.data.windows import PackedWindows, Rows, Whole, masked, padded

Mode = Literal["packed", "stream", "pad", "episode"]


class TrajectoryData(DataModule):
    """Trajectories: whole episodes are held out for validation and testing, never steps of one.

    Args:
        source: Where episodes come from.
        sequence_length: Transitions of a training window.
        batch_size: Windows, or episodes, a batch.
        mode: How training lays out episodes: ``packed`` end to end in windows, so that every step
            is used; ``stream`` likewise, each window after the previous one, whose state it
            continues (truncated back-propagation through time); ``pad`` whole, with zeros after
            their ends; ``episode`` whole, one a batch.
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
            raise InputError(
                "mode", f"one of {', '.join(get_args(Mode))}", repr(mode), "correct it"
            )
        if min(validation, test) < 0 or validation + test >= 1:
            raise InputError(
                "validation and test",
                expected="shares that leave some for training",
                got=f"{validation} and {test}",
                remedy="lower them",
            )
        self.source, self.mode = source, mode
        self.sequence_length, self.seed, self.num_workers = sequence_length, seed, num_workers
        self.batch_size = 1 if mode == "episode" else batch_size
        self._shares = validation, test

    @cached_property
    def recording(self) -> Recording:
        """All episodes, read once a process; what a row was taken for is printed."""
        recording = self.source.read()
        _print(*recording.reading)
        return recording

    @cached_property
    def layout(self) -> Layout:
        """What the episodes have in common."""
        return Layout.of(self.recording.episodes, self.recording.actions)

    @cached_property
    def spec(self) -> TrajectorySpec:
        """What a task must know of the trajectories."""
        rows, layout = self._rows("train"), self.layout
        _print(*misplaced(self.splits["train"], layout))
        moments = Moments.of(rows)
        if layout.discrete:  # choices that never occur are possible, too
            lowest, highest = [0.0] * layout.action, [1.0] * layout.action
            moments = replace(moments, action_lowest=lowest, action_highest=highest)
        return TrajectorySpec(
            moments,
            observation={key: list(shape) for key, shape in layout.observation.items()},
            action=layout.action,
            discrete=layout.discrete,
            environment=self.recording.environment,
            names=list(self.recording.names),
            options=self.recording.options,
            action_names=list(self.recording.action_names),
            source=source_options(self.source),
            trained_on=fingerprints(rows, moments).tolist(),
        )

    @cached_property
    def splits(self) -> dict[str, list[Episode]]:
        """Episodes by split; those with the same content are in the same one."""
        episodes = self.recording.episodes
        held = [int(np.ceil(share * len(episodes))) for share in self._shares]
        if len(episodes) <= sum(held):
            raise InputError(
                "episodes",
                expected=f"more than the {sum(held)} that are held out",
                got=str(len(episodes)),
                remedy="give more, or hold out none",
            )
        names, parts = ("val", "test", "train"), self._parts(held)
        return {n: [episodes[i] for i in sorted(x)] for n, x in zip(names, parts, strict=True)}

    def _parts(self, held: list[int]) -> list[list[int]]:
        """Return places of episodes: as many as are held out for each purpose, and the rest.

        Groups of one content that are larger than a part of those held out are trained on.
        """
        rows = [align_episode(episode, self.layout) for episode in self.recording.episodes]
        vectors = [{key: x for key, x in row.items() if key in ROW} for row in rows]
        groups = same_episodes(fingerprints(rows, Moments.of(vectors)))
        if again := len(rows) - len(groups):
            _print(f"{again:,} of {len(rows):,} episodes repeat others; each stays with its like")
        order = np.random.default_rng(self.seed).permutation(len(rows)).tolist()
        first = {i: n for n, i in enumerate(order)}
        groups.sort(key=lambda group: min(first[i] for i in group))
        groups.sort(key=lambda group: len(group) > max(held))
        parts: list[list[int]] = []
        for count in held:
            parts.append([])
            while len(parts[-1]) < count and groups:
                parts[-1] += groups.pop(0)
        parts.append([i for group in groups for i in group])
        if not all(parts[n] for n, count in enumerate([*held, 1]) if count):
            raise InputError(
                "episodes",
                expected=f"{sum(x > 0 for x in held) + 1} different ones or more",
                got=f"repetitions among {len(rows)}",
                remedy="give more, or hold out none",
            )
        return parts

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled windows, or whole episodes, in an order that is f(seed, epoch)."""
        if self.mode in ("pad", "episode"):
            return self._whole()
        windows = PackedWindows(self._rows("train"), self.sequence_length)
        if self.mode == "stream":
            sampler: Any = contiguous_sampler(
                len(windows), self.batch_size, self.seed, self.trainer
            )
        else:
            sampler = share_of(
                ShuffledSampler(len(windows), self.seed), self.batch_size, "windows", self.trainer
            )
        return ResumableLoader(
            windows, batch_size=self.batch_size, sampler=sampler, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return whole validation episodes, padded."""
        return self._held_out("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return whole test episodes, padded."""
        return self._held_out("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return whole test episodes, padded."""
        return self._held_out("test")

    def _whole(self) -> DataLoader[Any]:
        episodes = self._episodes("train")
        return ResumableLoader(
            episodes,
            batch_size=self.batch_size,
            collate_fn=padded,
            num_workers=self.num_workers,
            sampler=share_of(
                ShuffledSampler(len(episodes), self.seed), self.batch_size, "episodes", self.trainer
            ),
        )

    def _held_out(self, split: str) -> DataLoader[Any]:
        episodes = self._episodes(split)
        return evaluation_loader(
            episodes,
            range(len(episodes)),
            masked,
            self.trainer,
            batch_size=self.batch_size,
            collate_fn=padded,
            num_workers=self.num_workers,
        )

    def _episodes(self, split: str) -> Whole:
        return Whole(self._rows(split), [episode.name for episode in self.splits[split]])

    def _rows(self, split: str) -> list[Rows]:
        return [align_episode(episode, self.layout) for episode in self.splits[split]]


@rank_zero_only
def _print(*lines: str) -> None:
    for line in lines:
        print(line)
