"""``paratime world``: from an environment to plans in it, and mistakes in one line."""

import re

import pytest
import torch
from PIL import Image

SMALL = (
    *("--model.encoder.width", 8, "--model.encoder.depth", 1),
    *("--data", "TrajectoryData", "--data.sequence_length", 16, "--trainer.max_steps", 3),
    *("--trainer.logger", "false"),
)


def fit(
    paratime, folder, source: str, task: str = "DynamicsTask", *arguments: object, **options: object
) -> str:
    """Train for three steps; return the checkpoint."""
    given = [x for key, value in options.items() for x in (f"--data.source.{key}", value)]
    where = ("--trainer.default_root_dir", folder)
    status, out, err = paratime(
        "fit", "--model", task, *SMALL, "--data.source", source, *given, *where, *arguments
    )
    assert status == 0, err
    return re.search(r"checkpoint +(\S+)", out)[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_an_environment_to_plans_in_it(paratime, home):
    for layout, name in (("npz", "episodes"), ("minari", "pendulum-v0")):
        collect = ("collect", "--environment", "Pendulum-v1", "--episodes", 4, "--out", name)
        status, out, err = paratime("world", *collect, "--layout", layout)
        assert status == 0, err
        assert "episodes             4, 0 terminated" in out and "800, 200 to 200 an episode" in out
        status, again, err = paratime("world", "inspect", "--data", name)
        assert status == 0, err
        kept = [x for x in out.splitlines() if not x.startswith(("environment", "recording"))]
        left = [x for x in again.splitlines() if not x.startswith("environment")]
        assert left[: len(kept)] == kept and any("each action" in x for x in kept)
        led_to = "a row is an observation and the action that led to it: the first action of every"
        assert (led_to in "".join(left[len(kept) :])) == (layout == "npz")
    assert len([*home.rglob("cache/world/*/data/main_data.hdf5")]) == 1, "it was collected once"
    path = fit(paratime, home, "Minari", path="pendulum-v0")
    status, out, err = paratime(
        "world", "openloop", "--ckpt_path", path, "--data", "episodes", "--out", "f.svg"
    )
    assert status == 0, err
    about, _, *lines = out.splitlines()
    assert about == "2 episodes (2 that the model was trained on are left out)"
    assert lines[0].strip() == "DynamicsTask ParaGRU"
    assert lines[1].split() == [
        "steps",
        "rollouts",
        "persist",
        "nRMSE",
        "median",
        "skill",
        "sensitivity",
    ]
    assert [x.split()[0] for x in lines[2:7]] == ["1", "5", "10", "20", "50"]
    assert "reward nRMSE" in lines[8] and "<svg" in (home / "f.svg").read_text()
    planner = ("--planner", "CEM", "--planner.horizon", 2, "--planner.candidates", 4)
    status, out, err = paratime("world", "plan", "--ckpt_path", path, "--episodes", 2, *planner)
    assert status == 0, err
    rows = [x.split() for x in out.splitlines()]
    assert [x[0] for x in rows[:5]] == ["seed", "10000", "10001", "mean", "std"]
    planned = [float(x[1]) for x in rows[1:3]]
    assert float(rows[3][1]) == pytest.approx(sum(planned) / 2, abs=0.1)
    assert "ms a step" in out and "of rollouts left the range" in out


@pytest.mark.parametrize("task", ("DynamicsTask", "WorldTask"))
def test_choices_and_terminations(task, paratime, home):
    path = fit(paratime, home, "Gym", task, environment="CartPole-v1", episodes=8)
    options = ("--episodes", 1, "--planner", "MPPI", "--planner.horizon", 2)
    status, out, err = paratime("world", "plan", "--ckpt_path", path, *options)
    assert status == 0, err
    assert float(out.splitlines()[1].split()[1]) >= 5
    (home / "own.py").write_text("def cost(found, actions):\n    return actions[..., 0]\n")
    costly = ("--episodes", 1, "--planner", "CEM", "--planner.horizon", 2, "--cost", "own.cost")
    status, out, err = paratime("world", "plan", "--ckpt_path", path, *costly)
    assert status == 0, err
    other = ("--environment", "Pendulum-v1")
    status, _, err = paratime("world", "plan", "--ckpt_path", path, *other)
    assert status == 2 and err.count("\n") == 1
    assert "expected 2 actions, discrete, and 4 numbers observed, got 1 actions, continuous" in err
    status, _, err = paratime("world", "openloop", "--ckpt_path", path, "--data", "gym:Pendulum-v1")
    assert status == 2 and "data like that of the training" in err


def test_a_latent_that_says_nothing_is_warned_of(paratime, home):
    free = ("--model.free_nats", 50, "--trainer.num_sanity_val_steps", 0)
    with pytest.warns(UserWarning, match=r"divergence of 100% of the rows is below free_nats=50"):
        fit(paratime, home, "Gym", "WorldTask", *free, environment="CartPole-v1", episodes=8)


def test_sources_are_named_and_outputs_are_new(paratime, home):
    (home / "log.csv").write_text(
        "episode,step,pos,push,reward\n"
        + "".join(f"{e},{t},{t / (e + 1)},{t % 3},1\n" for e in range(6) for t in range(14))
    )
    table = {"path": "log.csv", "observation": "[pos]", "action": "[push]"}
    path = fit(paratime, home, "Table", **table)
    (home / "log.csv").rename(home / "other.csv")
    openloop = ("openloop", "--ckpt_path", path, "--data", "other.csv", "--out", "f.svg")
    status, out, err = paratime("world", *openloop)
    assert status == 0, err
    assert "a row is an observation and the action taken at it" in out
    assert "2 episodes (4 that the model was trained on are left out)" in out
    figure = (home / "f.svg").read_text()
    assert "<!-- pos -->" in figure and "<!-- reward -->" in figure
    collect = ("world", "collect", "--environment", "CartPole-v1", "--episodes", 6)
    assert paratime(*collect, "--out", "files")[0] == 0
    assert fit(paratime, home / "second", "Npz", path="files")
    status, _, err = paratime(*collect, "--out", "files")
    assert status == 2 and "out files: expected a new or an empty folder" in err
    assert len([*(home / "files").iterdir()]) == 6, "nothing has changed"


def test_the_checkpoint_is_of_the_last_step(paratime, home):
    source = ("--data.source", "Gym", "--data.source.environment", "CartPole-v1")
    steps = ("--trainer.max_steps", 3, "--trainer.val_check_interval", 1)
    always = (*SMALL, *source, "--data.source.episodes", 30, "--data.batch_size", 4, *steps)
    status, out, err = paratime("fit", "--model", "DynamicsTask", *always)
    assert status == 0 and "step=3.ckpt" in out and "validated" not in out, err
    names = [x.split()[0] for x in out.splitlines() if x.startswith("val/nrmse")]
    assert names[:3] == ["val/nrmse@1", "val/nrmse@5", "val/nrmse@10"]
    every = ("--trainer.val_check_interval", 2, "--trainer.default_root_dir", "other")
    status, out, err = paratime("fit", "--model", "DynamicsTask", *always, *every)
    assert status == 0 and "validated at step 2, before the end at step 3" in out, err
    path = re.search(r"checkpoint +(\S+)", out)[1]
    assert torch.load(path, weights_only=True)["global_step"] == 3


def test_what_a_model_was_trained_on_proves_nothing(paratime, home):
    path = fit(paratime, home, "Gym", environment="CartPole-v1", episodes=8)
    again = ("world", "openloop", "--ckpt_path", path, "--source", "Gym")
    same = ("--source.environment", "CartPole-v1", "--source.episodes", 8)
    status, out, err = paratime(*again, *same, "--horizon", 5)
    assert status == 0 and out.startswith("2 episodes (6 that the model was trained on"), err
    status, out, err = paratime(*again, *same, "--source.seed", 50, "--horizon", 5)
    assert status == 0 and out.startswith("8 episodes\n"), err


@pytest.fixture
def models(paratime, home):
    """Return checkpoints of CartPole: two seeds, one without actions, and one with latents."""
    data = {"environment": "CartPole-v1", "episodes": 8}
    kinds = (
        *(("DynamicsTask",), ("DynamicsTask", "--seed_everything", 1)),
        *(("DynamicsTask", "--model.use_action", "false"), ("WorldTask",)),
    )
    return [
        fit(paratime, home / str(number), "Gym", *kind, **data) for number, kind in enumerate(kinds)
    ]


def test_models_stand_side_by_side_and_move(paratime, home, models):
    first, second, without, latent = models
    given = ("--data", "gym:CartPole-v1", "--horizon", 10)
    beside = ("--beside", f"[{second}, {without}, {latent}]", "--ensemble", second)
    pictures = ("--out", "f.png", "--gif", "f.gif")
    status, out, err = paratime(
        "world", "openloop", "--ckpt_path", first, *given, *beside, *pictures
    )
    assert status == 0, err
    names = [
        *("DynamicsTask ParaGRU (1)", "DynamicsTask ParaGRU (2)"),
        *("DynamicsTask ParaGRU without actions", "WorldTask ParaGRU"),
    ]
    _, _, *lines = out.splitlines()
    assert re.split(" {2,}", lines[0].strip()) == names
    for name, path in zip(names, models, strict=True):
        assert f"{name}: {path}" in lines
    assert [float(x.split()[14]) for x in lines[2:5]] == [1, 1, 1], "no actions are read"
    assert (home / "f.png").read_bytes()[:4] == b"\x89PNG"
    with Image.open(home / "f.gif") as film:
        assert film.n_frames == 11
    status, _, err = paratime(
        "world", "openloop", "--ckpt_path", latent, *given, "--samples", 3, "--gif", "l.gif"
    )
    assert status == 0 and (home / "l.gif").stat().st_size < 300_000, err
    saved = torch.load(second, weights_only=True)
    saved["hyper_parameters"]["spec"]["observation"] = {"observation": [3]}
    torch.save(saved, "other.ckpt")
    for option in ("--beside", "--ensemble"):
        other = (option, "other.ckpt", "--out", "f.png")
        status, _, err = paratime("world", "openloop", "--ckpt_path", first, *given, *other)
        assert status == 2 and err.count("\n") == 1 and "name a checkpoint of the same data" in err
        assert err.startswith("paratime: other.ckpt: expected (observation, action, discrete)")


MISTAKES = {
    "no data": (("inspect",), "data: expected a path, or a source instead, got neither"),
    "no such path": (("inspect", "--data", "nowhere.npz"), "nowhere.npz"),
    "a table": (("inspect", "--data", "x.csv"), "use --source Table for tables"),
    "environment": (("inspect", "--data", "gym:Pendlum-v1"), "an id that Gymnasium knows"),
    "no checkpoint": (("plan", "--ckpt_path", "x.ckpt"), "an existing checkpoint"),
    "figure": (
        ("openloop", "--ckpt_path", "x.ckpt", "--data", "a.npz", "--out", "f.gif"),
        "out: expected a name in .png, .svg, .pdf, got 'f.gif'",
    ),
    "film": (
        ("openloop", "--ckpt_path", "x.ckpt", "--data", "a.npz", "--gif", "f.png"),
        "gif: expected a name in .gif, got 'f.png'",
    ),
    "samples": (
        ("openloop", "--ckpt_path", "x.ckpt", "--data", "a.npz", "--samples", 0),
        "samples: expected at least 1, got 0",
    ),
    "layout": (
        ("convert", "--data", "gym:CartPole-v1", "--out", "x", "--layout", "zip"),
        "layout",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_world_mistakes_end_in_one_line(name, paratime, home):
    arguments, message = MISTAKES[name]
    status, _, err = paratime("world", *arguments)
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_checkpoint_of_another_task_is_refused(paratime, home):
    torch.save(
        {"hyper_parameters": {"_class_path": "paratime.language.model.task.LanguageTask"}}, "x.ckpt"
    )
    status, _, err = paratime("world", "plan", "--ckpt_path", "x.ckpt")
    assert status == 2 and "of DynamicsTask or WorldTask, got LanguageTask" in err


def test_an_interrupted_collection_leaves_nothing(home, monkeypatch):
    from paratime.world.data.sources import gym as environment

    def broken(*_: object):
        yield from ()
        raise RuntimeError("power cut")

    monkeypatch.setattr(environment, "random_episodes", broken)
    with pytest.raises(RuntimeError):
        environment.Gym("Pendulum-v1", 2).read()
    assert not [x for x in home.rglob("*") if x.is_file() and x.suffix != ".lock"]
