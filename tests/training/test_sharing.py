"""What processes share is what one process alone would have."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_run import ROWS, SLICES, run
from torch.testing import assert_close as close

from paratime.errors import InputError
from paratime.training.batches.samplers import Share, ShuffledSampler, share_of
from paratime.training.batches.sharing import WholeBatches, WithBlanks, mean_of_all

TESTS = Path(__file__).parents[1]
EXACT, SINGLE = {"rtol": 1e-6, "atol": 1e-9}, {"rtol": 2e-4, "atol": 1e-4}
"""How near results in float64 are, and those in float32, in which models are sharded."""

NAMES = {
    "language": ["tokens 0 to 32", "tokens 32 to 64"],
    "forecast": ["item 0", "item 1"],
    "world": ["e3", "e8"],
}
COUNTS = st.integers(1, 60), st.integers(1, 7), st.integers(1, 6)


@given(*COUNTS)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_evaluation_gives_each_item_once_in_batches_of_one_process(count, batch_size, processes):
    order = list(range(100, 100 + count))
    alone = [order[i : i + batch_size] for i in range(0, count, batch_size)]
    taken = []
    for rank in range(processes):
        indices = [*WholeBatches(order, batch_size=batch_size, num_replicas=processes, rank=rank)]
        taken.append([indices[i : i + batch_size] for i in range(0, len(indices), batch_size)])
    assert len({len(batches) for batches in taken}) == 1, "all run in step"
    in_turn = [batches[n] for n in range(len(taken[0])) for batches in taken]
    assert [x for x in in_turn if min(x) >= 0] == alone
    assert all(max(x) < 0 for x in in_turn if min(x) < 0), "blank items are batches of their own"


@given(*COUNTS, st.integers(0, 3))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_training_shares_the_global_batches_of_one_process(count, batch_size, processes, epoch):
    order = ShuffledSampler(count, seed=1)
    shares = [
        Share(ShuffledSampler(count, 1), batch_size=batch_size, num_replicas=processes, rank=rank)
        for rank in range(processes)
    ]
    for sampler in (order, *shares):
        sampler.set_epoch(epoch)
    alone, rows = [*order], batch_size * processes
    own = [[*share] for share in shares]
    assert [len(x) for x in own] == [len(x) for x in shares]
    steps = {-(-len(x) // batch_size) for x in own}
    assert len(steps) == 1
    for step in range(steps.pop()):
        together = {x for items in own for x in items[step * batch_size :][:batch_size]}
        assert together == {*alone[step * rows :][:rows]}
    assert count - sum(map(len, own)) < processes


def test_a_blank_item_is_the_one_at_its_complement():
    items = WithBlanks([10, 20, 30], blank=lambda x: -x)
    assert [items[i] for i in (0, 2, ~0, ~2)] == [10, 30, -10, -30] and len(items) == 3


def test_fewer_items_than_processes_are_refused():
    several = SimpleNamespace(distributed_sampler_kwargs={"num_replicas": 4, "rank": 0})
    with pytest.raises(InputError, match="series: expected at least 4, one for each process"):
        share_of(ShuffledSampler(3, 0), 2, "series", several)
    assert len(share_of(ShuffledSampler(4, 0), 2, "series", several)) == 1


def test_a_mean_of_one_process_is_its_own():
    assert mean_of_all(torch.tensor(6.0), torch.tensor(4)) == 1.5
    assert mean_of_all(torch.tensor(0.0), torch.tensor(0)) == 0


def together(processes: int, folder: Path) -> dict[str, dict[str, object]]:
    """Return what several processes find."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(TESTS / "shared_run.py"), str(processes), folder]
    running = [
        subprocess.Popen(
            command,
            env=os.environ | about | {"LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [process.communicate(timeout=600)[0] for process in running]
    assert not any(process.returncode for process in running), said
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("processes", (2, pytest.param(3, marks=pytest.mark.slow)))
def test_several_processes_find_what_one_finds(processes, tmp_path):
    found = together(processes, tmp_path / "several")
    for name in SLICES:
        alone = run(name, 1, tmp_path / "alone" / name)
        its = torch.load(tmp_path / "alone" / name / "predictions.pt")
        names = [name for x in its for name in x["item_id"]]
        assert names[:2] == NAMES[name] and len({*names}) == len(names)
        for run_of, allowed in ((name, EXACT), (f"{name} in parts", SINGLE)):
            several = found[run_of]
            assert several.keys() == alone.keys()
            for key, value in alone.items():
                expected, got = (torch.tensor(_flat(x)) for x in (value, several[key]))
                close(got, expected, **allowed, msg=f"{run_of} {key}")
            ours = torch.load(tmp_path / "several" / run_of / "predictions.pt")
            assert len(ours) == len(its) > 2
            for x, y in zip(ours, its, strict=True):
                assert x["item_id"] == y["item_id"] and len(x["item_id"]) == len(x["prediction"])
                both = x["prediction"].double(), y["prediction"].double()
                close(*both, **allowed, equal_nan=True)
    assert not [*(tmp_path / "several").rglob("predictions.pt.*")]
    assert ROWS % processes == 0
    whole, resumed = found["resumed"]
    for before, after in zip(whole, resumed, strict=True):
        # DDP sums in another order in the first step of a run, which shows from three terms on.
        allowed = 0 if processes == 2 else 1e-6
        close(torch.tensor(after), torch.tensor(before), rtol=allowed, atol=allowed)


def _flat(value):
    if isinstance(value, list) and value and isinstance(value[0], list):
        return [x for row in value for x in row]
    return value
