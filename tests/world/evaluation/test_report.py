"""Rollouts in tables."""

from types import SimpleNamespace

import torch
from world.networks import LENGTHS, SPEC, network, rows

from paratime import Encoder
from paratime.world.evaluation import report
from paratime.world.evaluation.report import model_names, score_rollouts, score_tables
from paratime.world.model.rollout import RolloutScores
from paratime.world.model.task import DynamicsTask


def task(**options) -> DynamicsTask:
    torch.manual_seed(0)
    return DynamicsTask(Encoder(8, 1, mlp_size=8), SPEC, context=3, horizon=5, **options).eval()


def test_columns_have_different_names_and_dashes_stand_for_nothing():
    tasks = [task(), task(use_action=False), task()]
    names = model_names(tasks)
    assert names == [
        "DynamicsTask ParaGRU (1)",
        "DynamicsTask ParaGRU without actions",
        "DynamicsTask ParaGRU (2)",
    ]
    found = dict(zip(names, score_rollouts(tasks, rows(), horizon=5, every=3), strict=True))
    lines = score_tables(found).splitlines()
    places = [lines[0].index(name) for name in names]
    for line in lines[2:4]:
        cells = line.split()
        assert len(cells) == 3 + 3 * 4 and cells[3:7] == cells[11:15] and cells[10] == "1.00"
        assert all(line[place - 1] == " " for place in places)
    alone = score_tables(
        {"one": score_rollouts(tasks[:1], rows()[:1], horizon=5, every=3)[0]}
    ).splitlines()
    assert [x.split()[-1] for x in alone[2:4]] == ["-", "-"], "there is no other episode"
    assert alone[6].split()[:1] == ["one"] and alone[6].split()[3:5] == ["-", "0"], "nothing ended"


def test_the_last_row_of_episodes_is_scored(monkeypatch):
    seen = []

    class Scores(RolloutScores):
        def update(self, network, batch, context):
            seen.append((context, min(context + 4, batch["mask"].shape[1])))

        def compute(self):
            return {}

    monkeypatch.setattr(report, "RolloutScores", Scores)
    task = SimpleNamespace(network=network(), spec=SPEC)
    score_rollouts([task], rows(), horizon=4, every=5)
    longest = max(LENGTHS) + 1
    assert [begin for begin, _ in seen] == [*range(1, longest - 4, 5), longest - 4]
    assert seen[-1][1] == longest
