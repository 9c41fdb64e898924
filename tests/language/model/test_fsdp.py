"""A model spread over processes trains as it does in one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from language.sharded_run import run

from paratime.errors import InputError
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.training.fsdp import data_mesh

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("weights", ("untied", pytest.param("tied", marks=pytest.mark.slow)))
def test_two_processes_equal_one_though_they_are_interrupted(weights, tmp_path):
    script, paths = Path(__file__).parents[1] / "sharded_run.py", [str(ROOT), *sys.path]
    subprocess.run(
        [sys.executable, script, tmp_path, weights],
        check=True,
        capture_output=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    both = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    alone = run(str(tmp_path), 1, weights == "tied")
    mean = [sum(pair) / 2 for pair in zip(*(r["losses"] for r in both), strict=True)]
    assert mean == pytest.approx(alone["losses"], rel=1e-9)
    for report in both:
        assert report["norms"] == pytest.approx(alone["norms"], rel=1e-9)
        assert report["numbers"] == alone["numbers"] / 2
        assert report["score"] > 0
    assert min(alone["norms"]) > 0.5  # so that all steps were clipped
    run(str(tmp_path / "one"), 1, weights == "tied", stop=3)
    whole, parts = (read_checkpoint(tmp_path / name) for name in ("one/half.ckpt", "half.ckpt"))
    assert whole["global_step"] == parts["global_step"] == 3
    torch.testing.assert_close(parts["state_dict"], whole["state_dict"], rtol=1e-9, atol=1e-9)


def test_the_default_sizes_of_the_strategy_would_shard_nothing():
    axes = {"tensor_parallel": SimpleNamespace(size=lambda: 8), "data_parallel": None}
    with pytest.raises(InputError, match="tensor_parallel_size: expected 1, got 8; give"):
        data_mesh(axes)
