"""Checkpoints with wrong values are refused in one line, before a model or a run is built."""

import pytest
import torch

from paratime.errors import InputError
from paratime.io.saved.checkpoint import check_checkpoint, check_resumable, read_checkpoint

WHOLE = {
    "pytorch-lightning_version": "2.6.0",
    "global_step": 3,
    "epoch": 1,
    "loops": {"fit_loop": {}},
    "callbacks": {},
    "optimizer_states": [{"state": {}, "param_groups": []}],
    "lr_schedulers": [{"last_epoch": 3}],
    "hyper_parameters": {},
    "state_dict": {"weight": torch.ones(3)},
}
WRONG = [
    *((name, None) for name in WHOLE if name not in ("hyper_parameters", "state_dict")),
    *((name, "x") for name in WHOLE if name != "pytorch-lightning_version"),
    *(("optimizer_states", x) for x in ([], ["x"], [None], {})),
    ("lr_schedulers", [3]),
    *(("global_step", x) for x in (-5, 2**70, 1.5)),
    *(("epoch", x) for x in (-1, 10**30)),
    *(("loops", x) for x in ([], 3)),
    *(("state_dict", {"weight": x}) for x in ("abc", 3, None, torch.ones(2, device="meta"))),
    ("state_dict", {"weight": torch.ones(2, dtype=torch.complex64)}),
]


def test_a_whole_one_is_read(tmp_path):
    torch.save(WHOLE, tmp_path / "a.ckpt")
    check_resumable(tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt")["global_step"] == 3


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_what_is_missing_or_of_another_kind_is_refused(name, value, tmp_path):
    path = tmp_path / "a.ckpt"
    changed = {k: v for k, v in WHOLE.items() if k != name}
    torch.save(changed if value is None else changed | {name: value}, path)
    with pytest.raises(InputError, match=r"a\.ckpt: expected a checkpoint of paratime fit") as said:
        read_checkpoint(path)
        check_resumable(path)
    assert "\n" not in str(said.value)


def test_pipes_and_devices_are_not_opened(tmp_path):
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in folders")
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match="a device or a pipe"):
            check_checkpoint(str(tmp_path / f"{name}.ckpt"))
