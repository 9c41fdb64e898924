"""A comparison that takes seconds: little data of each kind, and its config."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from paratime.world.data.episode import make_episode
from paratime.world.data.sources.dreamer import write_npz

ENCODER = {"width": 16, "depth": 1, "mixer": "ParaGRU", "mlp_size": 32}
TASKS = {
    "tokens": (
        {"class_path": "LanguageTask", "init_args": {"encoder": ENCODER}},
        {
            "class_path": "TokenData",
            "init_args": {
                "source": {"class_path": "TextFiles", "init_args": {"paths": ["text.txt"]}},
                "context_length": 32,
                "batch_size": 4,
                "cache_dir": "cache",
            },
        },
    ),
    "series": (
        {"class_path": "ForecastTask", "init_args": {"encoder": ENCODER, "dropout": 0.1}},
        {
            "class_path": "SeriesData",
            "init_args": {
                "source": {"class_path": "Table", "init_args": {"path": "series.csv"}},
                "prediction_length": 6,
                "batch_size": 4,
            },
        },
    ),
    "trajectories": (
        {"class_path": "DynamicsTask", "init_args": {"encoder": ENCODER}},
        {
            "class_path": "TrajectoryData",
            "init_args": {
                "source": {"class_path": "Npz", "init_args": {"path": "episodes"}},
                "sequence_length": 16,
                "batch_size": 4,
            },
        },
    ),
}
MIXERS = ["ParaGRU", "MinGRU"]


def prepare(folder: Path) -> None:
    """Write data, configs of ``paratime fit``, and ``compare.yaml``, which names them."""
    (folder / "text.txt").write_text("so much depends upon a red wheelbarrow. " * 200)
    steps, frames = np.arange(60), []
    for name in "abcd":
        target = ord(name) - 90 + np.sin(steps * np.pi / 6)
        time = pd.date_range("2001-01-01", periods=60, freq="MS")
        frames.append(pd.DataFrame({"item_id": name, "timestamp": time, "target": target}))
    pd.concat(frames).to_csv(folder / "series.csv", index=False)
    (folder / "episodes").mkdir()
    write_npz([_episode(number) for number in range(12)], folder / "episodes")
    for name, (model, data) in TASKS.items():
        config = {"model": model, "data": data}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    sizes = {"steps": 4, "width": 16, "depth": 1, "mlp_size": 32}
    comparison = {
        "title": "small",
        "out": "out",
        "seeds": [0],
        "mixers": MIXERS,
        "processes": 2,
        "domains": {name: {"config": f"{name}.yaml", **sizes} for name in TASKS},
    }
    (folder / "compare.yaml").write_text(yaml.safe_dump(comparison, sort_keys=False))


def change(folder: Path, **values: object) -> None:
    """Change some values of ``compare.yaml``."""
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))


def only(folder: Path, *domains: str) -> None:
    """Leave some domains in ``compare.yaml``."""
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    change(folder, domains={name: config["domains"][name] for name in domains})


def results(folder: Path) -> dict[str, dict]:
    """Return the finished runs, by path, without what they cost."""
    found = {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.glob("runs/*/*/seed-*.json"))
    }
    return {name: {k: x for k, x in run.items() if k != "cost"} for name, run in found.items()}


def refused(found: tuple[int, str, str], *expected: str) -> None:
    """Check that a command ended in one line that says some things."""
    status, _, err = found
    message = [line for line in err.splitlines() if line.startswith("paratime: ")]
    assert status == 2 and len(message) == 1 and err.endswith(message[0] + "\n"), err
    for part in expected:
        assert part in message[0]


def _episode(number: int):
    """Return an episode of a point that is pushed, whose reward says how far it is from 1."""
    random = np.random.default_rng(number)
    push = random.uniform(-1, 1, size=(40, 1))
    place = np.concatenate([[[0.0]], push.cumsum(axis=0)])
    reward = -np.abs(place[1:, 0] - 1)
    return make_episode(f"episode {number}", place, push, reward, terminated=False)
