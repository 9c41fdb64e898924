"""Tasks of ``experiments/state_tracking`` against slow twins, and what parity takes."""

import importlib.util
from itertools import pairwise, permutations
from pathlib import Path

import learning
import pandas as pd
import pytest
import torch
from learning import LENGTHS, SETTINGS, accuracy, train
from tasks import TASKS, Arithmetic, Copying, Hops, Recall, cyclic
from trackers import MIXERS, Tracker

SCRIPT = importlib.util.spec_from_file_location(
    "tracking", Path(learning.__file__).with_name("run.py")
)
run = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(run)

COUNT = 5
SIZES = (40, 63)


def draw(task, length, seed=0, count=COUNT):
    return task.draw(count, length, torch.Generator().manual_seed(seed))


def rows(batch):
    return zip(*(x.tolist() for x in batch), strict=True)


def expected(targets, mask):
    """Return the targets that are asked for, and None elsewhere."""
    return [a if asked else None for a, asked in zip(targets, mask, strict=True)]


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("name", TASKS)
def test_batches_are_as_they_are_described(name, length):
    task = TASKS[name]
    tokens, targets, mask = draw(task, length)
    assert tokens.shape == targets.shape == mask.shape == (COUNT, length)
    assert tokens.dtype == targets.dtype == torch.long and mask.dtype == torch.bool
    assert tokens.min() >= 0 and tokens.max() < task.vocabulary
    assert targets.min() >= 0 and targets.max() < task.classes
    assert mask.any(1).all() and not targets[~mask].any()


@pytest.mark.parametrize("name", TASKS)
def test_a_seed_is_a_data_set(name):
    first, again, other = (draw(TASKS[name], 40, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.tokens, other.tokens)


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_occurs_and_none_prevails(name):
    task = TASKS[name]
    _, targets, mask = draw(task, 256, count=64)
    shares = torch.bincount(targets[mask], minlength=task.classes) / mask.sum()
    assert shares.min() > 0 and shares.max() < 1.7 / task.classes


@pytest.mark.parametrize("order", (2, 3, 5))
def test_words_of_a_cyclic_group_are_sums(order):
    for tokens, targets, mask in rows(draw(cyclic(order), 63)):
        assert all(mask)
        assert targets == [sum(tokens[: t + 1]) % order for t in range(63)]


@pytest.mark.parametrize(
    ("name", "points", "even"), [("s3", 3, False), ("a5", 5, True), ("s5", 5, False)]
)
def test_words_of_permutations_are_products_of_matrices(name, points, even):
    matrices = [torch.eye(points)[list(p)].T for p in permutations(range(points))]
    matrices = [m for m in matrices if not even or torch.linalg.det(m) > 0]
    task = TASKS[name]
    assert len(matrices) == task.classes
    for tokens, targets, mask in rows(draw(task, 40)):
        product = torch.eye(points)
        for token, target in zip(tokens, targets, strict=True):
            product = product @ matrices[task.letters[token]]
            assert torch.equal(product, matrices[target])
        assert all(mask)


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("modulus", (5, 7))
def test_arithmetic_is_that_of_python(modulus, length):
    words = [*map(str, range(modulus)), "+", "-", "*"]
    for tokens, *answer in rows(draw(Arithmetic(modulus), length)):
        spoken = [words[token] for token in tokens]
        values = [
            None if t % 2 else eval("".join(spoken[: t + 1])) % modulus for t in range(length)
        ]
        assert expected(*answer) == values


@pytest.mark.parametrize("length", SIZES)
def test_recall_is_a_look_into_a_dictionary(length):
    task = Recall(keys=16, values=4)
    pairs = length // 5
    for tokens, *answer in rows(draw(task, length)):
        book = dict(zip(tokens[: 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True))
        assert len(book) == pairs and max(book) < 16
        values = [None] * (2 * pairs) + [book[key] - 16 for key in tokens[2 * pairs :]]
        assert expected(*answer) == values


@pytest.mark.parametrize("length", SIZES)
def test_copying_says_what_was_shown_in_order(length):
    task = Copying(symbols=4, shown=6)
    batch = draw(task, length, count=64)
    for tokens, *answer in rows(batch):
        shown = [token for token in tokens if token < 4]
        assert len(shown) == 6 and tokens[-6:] == [5] * 6
        assert expected(*answer) == [None] * (length - 6) + shown
    assert (batch.tokens[:, : length - 6] < 4).any(0).all()


@pytest.mark.parametrize("hops", (1, 2, 3))
def test_hops_follow_their_definition(hops):
    for tokens, *answer in rows(draw(Hops(hops, vocabulary=4), 63)):
        assert expected(*answer) == [hop(tokens, t, hops) for t in range(63)]


def hop(tokens, place, hops):
    for _ in range(hops):
        places = [j for j in range(1, place + 1) if tokens[j - 1] == tokens[place]]
        if not places:
            return None
        place = places[-1]
    return tokens[place]


@pytest.mark.parametrize("mixer", MIXERS)
def test_networks_read_no_future_and_are_small(mixer):
    task = TASKS["mod5"]
    model = Tracker(task, mixer).eval()
    tokens = draw(task, 40).tokens
    other = tokens.clone()
    other[:, 20:] = (other[:, 20:] + 1) % 5
    with torch.no_grad():
        a, b = model(tokens), model(other)
    assert a.shape == (COUNT, 40, 5)
    torch.testing.assert_close(a[:, :20], b[:, :20])
    assert (a[:, 20:] - b[:, 20:]).abs().max() > 1e-3
    assert 1e4 < sum(p.numel() for p in model.parameters()) < 4e4


def test_accuracy_counts_what_is_asked_in_the_second_half():
    class Parity(torch.nn.Module):
        def forward(self, tokens):
            answers = tokens.cumsum(1) % 2
            answers[:, :20] = 1 - answers[:, :20]
            answers[:, 36:] = 1 - answers[:, 36:]
            return torch.nn.functional.one_hot(answers, 2).float()

    assert accuracy(Parity(), TASKS["parity"], 40) == pytest.approx(16 / 20)


@pytest.mark.slow
def test_a_diagonal_cell_learns_parity_for_any_length_and_a_linear_one_does_not():
    task = TASKS["parity"]
    for mixer, least, most in (("ParaGRU", 0.99, 1.0), ("MinGRU", 0.4, 0.65)):
        trained = train("parity", mixer, seed=0, rate=0.01)
        assert least <= accuracy(trained.model, task, 4 * LENGTHS[0], count=64) <= most, mixer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Let the experiment write into a folder, and make up what a run measures."""
    monkeypatch.setattr(run, "HERE", tmp_path)
    cost = [{"mixer": m, "width": w, "relative": 1.0} for m in MIXERS for w in (64, 256)]
    pd.DataFrame(cost).to_csv(tmp_path / "cost.csv", index=False)
    return tmp_path


def made_up(done, stop_at=None):
    def measure(*key):
        if key == stop_at:
            raise KeyboardInterrupt
        done.append(key)
        return {"parameters": 1, "cpu_s": 1.0, "rate": 0.01, "loss": 0.5} | {
            f"accuracy@{n}": 0.25 for n in LENGTHS
        }

    return measure


def test_a_run_that_was_stopped_goes_on_where_it_was(folder, monkeypatch, capsys):
    arguments = ["--tasks", "parity,s3", "--mixers", "MinGRU,ParaGRU", "--seeds", "2"]
    done = []
    monkeypatch.setattr(run, "measure", made_up(done, stop_at=("s3", "ParaGRU", 0)))
    with pytest.raises(KeyboardInterrupt):
        run.main(arguments)
    assert len(done) == 4
    monkeypatch.setattr(run, "measure", made_up(done))
    run.main(arguments)
    every = [(t, m, s) for t in ("parity", "s3") for m in ("ParaGRU", "MinGRU") for s in (0, 1)]
    assert done == every
    assert run.keys_of(pd.read_csv(folder / "results.csv")) == every
    assert "25.0" in capsys.readouterr().out
    assert all((folder / f"{name}.png").stat().st_size > 1e4 for name in ("lengths", "blocks"))


@pytest.mark.parametrize(("option", "known"), [("tasks", SETTINGS), ("mixers", MIXERS)])
def test_an_unknown_name_is_refused_in_one_line(option, known, capsys):
    with pytest.raises(SystemExit):
        run.parse([f"--{option}", f"{next(iter(known))},other"])
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{option}: expected " in message and "got 'other'" in message


def test_the_readme_has_the_table():
    here = Path(learning.__file__).parent
    table = run.markdown(pd.read_csv(here / "results.csv"))
    assert table in (here / "README.md").read_text()
    assert len(table.splitlines()) == len(MIXERS) + 3


def test_by_default_parity_has_three_seeds_and_every_mixer_every_task():
    chosen = run.parse([])
    keys = list(run.wanted(chosen.tasks, chosen.mixers, chosen.seeds))
    assert {k[:2] for k in keys} == {(t, m) for t in TASKS for m in MIXERS}
    assert [s for t, m, s in keys if (t, m) == ("parity", "MinGRU")] == [0, 1, 2]
    assert all(a != b for a, b in pairwise(keys))
