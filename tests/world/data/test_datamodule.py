"""Trajectories as a data module: whole episodes are held out, the same with any workers."""

import numpy as np
import pytest
import torch
from world.trajectories import make_data

from paratime.errors import InputError


@pytest.mark.parametrize("mode", ("packed", "pad", "episode"))
def test_splits_are_by_episode(mode):
    data = make_data(mode=mode)
    numbers = {
        name: {int(e.observation["observation"][0, 1]) for e in part}
        for name, part in data.splits.items()
    }
    assert [len(numbers[x]) for x in ("val", "test", "train")] == [2, 2, 16]
    assert len(set().union(*numbers.values())) == 20
    seen = {
        int(n)
        for batch in data.train_dataloader()
        for n in batch["observation"][..., 1][batch["mask"]].unique()
    }
    assert seen == numbers["train"]
    held = {
        int(n)
        for batch in data.val_dataloader()
        for n in batch["observation"][..., 1][batch["mask"]].unique()
    }
    assert held == numbers["val"]
    moments = vars(data.spec.moments)
    known = np.concatenate([e.observation["observation"] for e in data.splits["train"]])
    np.testing.assert_allclose(moments["observation"][0], known.mean(0), rtol=1e-5)
    assert moments["highest"] == known.max(0).tolist()


@pytest.mark.parametrize("workers", (0, 2))
def test_loading_is_the_same_with_workers(workers):
    alone, others = (
        make_data().train_dataloader(),
        make_data(num_workers=workers).train_dataloader(),
    )
    for a, b in zip(alone, others, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


REFUSED = {
    "too few": ({"validation": 0.5, "test": 0.49}, "episodes: expected more than the 20 that"),
    "shares": ({"validation": 0.6, "test": 0.4}, "shares that leave some for training"),
    "length": ({"sequence_length": 0}, "sequence_length: expected at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_split_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(InputError) as error:
        make_data(**options).spec  # noqa: B018
    assert message in str(error.value)
