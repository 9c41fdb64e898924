"""Orders of training data, and epochs that another run continues."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from paratime.training.batches.loading import ResumableLoader
from paratime.training.batches.samplers import ContiguousSampler, EpochSampler, ShuffledSampler

EPOCH = 3
few = settings(deadline=None, max_examples=60, derandomize=True)


class Echo(Dataset):
    """Returns the window of an index, and whether it follows."""

    def __getitem__(self, index: tuple[int, int, bool]) -> tuple[int, int]:
        return index[1], int(index[2])


def loader_of(kind: type[EpochSampler], windows: int, rows: int, workers: int = 0):
    contiguous = kind is ContiguousSampler
    sampler = ContiguousSampler(windows, rows, 1) if contiguous else kind(windows, 1)
    return ResumableLoader(Echo(), batch_size=rows, sampler=sampler, num_workers=workers)


def take(loader: ResumableLoader, state: dict | None, batches: int) -> list[list[list[int]]]:
    """Return windows and whether they follow, of some batches after a place."""
    if state is not None:
        loader.load_state_dict(state)
    loader.sampler.set_epoch(EPOCH)
    found = []
    for batch in loader:
        found.append(torch.stack(batch).tolist())
        if len(found) == batches:
            break
    return found


runs = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=4)


@few
@given(st.integers(20, 90), runs)
def test_shuffled_windows_are_those_of_a_run_without_a_break(windows, runs):
    whole = loader_of(ShuffledSampler, windows, 7)
    expected = [x for batch in take(whole, None, -1) for x in batch[0]]
    seen, state = [], None
    for n, (rows, batches) in enumerate(runs):
        loader = loader_of(ShuffledSampler, windows, rows)
        count = -1 if n == len(runs) - 1 else max(1, batches)
        before = len(seen) % windows
        found = take(loader, state, count)
        seen += [x for batch in found for x in batch[0]]
        left = -(-(windows - before) // rows)
        assert len(found) == (left if count < 0 else min(count, left))
        state = loader.state_dict()
    assert seen == (expected * 5)[: len(seen)] and len(seen) % windows == 0


@few
@given(st.integers(20, 90), runs)
def test_streams_give_each_window_once_and_continue_their_rows(windows, runs):
    seen, state, last, finished = [], None, [], False
    for n, (rows, batches) in enumerate(runs):
        loader = loader_of(ContiguousSampler, windows, rows)
        left = (windows - len(seen)) // rows
        if not left:
            finished = True
            break
        found = take(loader, state, -1 if n == len(runs) - 1 else max(1, batches))
        for values, follows in found:
            for row, (window, follow) in enumerate(zip(values, follows, strict=True)):
                assert follow == (row < len(last) and last[row] == window - 1)
            seen, last = [*seen, *values], values
        assert loader.batches_left() == left - len(found)
        state = loader.state_dict()
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(windows))
    assert finished or windows - len(seen) < rows


def test_a_stream_with_the_same_rows_is_that_of_a_run_without_a_break():
    whole = take(loader_of(ContiguousSampler, 50, 4), None, -1)
    state, seen = None, []
    for batches in (3, 1, 5, -1):
        loader = loader_of(ContiguousSampler, 50, 4)
        seen += take(loader, state, batches)
        state = loader.state_dict()
    assert seen == whole


@pytest.mark.parametrize("workers", (0, 1))
def test_the_epoch_after_a_continued_one_is_whole(workers):
    loader = loader_of(ShuffledSampler, 20, 6, workers)
    found = take(loader, {"taken": [[9, 3]], "total": 20}, -1)
    assert [len(batch[0]) for batch in found] == [6, 5] and len(loader) == 4
    assert [len(batch[0]) for batch in take(loader, None, -1)] == [6, 6, 6, 2]


def test_places_of_earlier_checkpoints_and_of_other_data(caplog):
    expected = [x for batch in take(loader_of(ShuffledSampler, 20, 3), None, -1) for x in batch[0]]
    found = take(loader_of(ShuffledSampler, 20, 3), {"batches": 2}, -1)
    assert [x for batch in found for x in batch[0]] == expected[6:]
    with caplog.at_level(logging.WARNING, "paratime"):
        found = take(loader_of(ShuffledSampler, 20, 5), {"taken": [[20, 2]], "total": 40}, -1)
    assert sum(len(batch[0]) for batch in found) == 10
    assert "40 items and have 20 now: continues at the same share" in caplog.text
