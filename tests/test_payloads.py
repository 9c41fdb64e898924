"""Code in files that are data: whatever a file names or holds, reading it runs nothing of it."""

import json
import pickle
import shutil
import sys
import warnings
from functools import partial
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
import torch
from torch.distributed import checkpoint as shards

from paratime.errors import InputError
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.gluonts.predictor import ParaRNNPredictor, load_forecaster
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.forecaster import Forecaster
from paratime.io.saved.archives import check_shards
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.language.data.corpus.shards import FORMAT, open_split
from paratime.language.data.spec import TokenSpec
from paratime.language.export.safetensors import from_exported, load_task, write_folder
from paratime.language.export.torch_export import export_step, load_step
from paratime.language.model.task import LanguageTask
from paratime.language.model.weights import read_weights
from paratime.layers.encoder import Encoder
from paratime.training.base import Task
from paratime.training.checkpoints.restoring import restore_task
from paratime.world.data.environment import EnvironmentOptions, check_trusted
from paratime.world.data.sources.catalog import trajectory_source
from paratime.world.model.task import DynamicsTask, WorldTask

MARK = "executed"
"""The file that code writes which should not run."""

MODULE = f"""
from pathlib import Path
Path({MARK!r}).write_text("mine was imported")
from paratime import ParaGRU

class MyMixer(ParaGRU):
    pass

def make(width):
    return ParaGRU(width)
"""


class Touch:
    """An object whose pickle writes the file."""

    def __reduce__(self):
        return exec, (f"open({MARK!r}, 'w')",)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in a folder with a module that nobody trusts; nothing may have run at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    Path("mine.py").write_text(MODULE)
    yield
    assert not Path(MARK).exists()
    assert "mine" not in sys.modules


CALL = f"open({MARK!r}, 'w')"
NAMES = {
    "a user's class": "mine.MyMixer",
    "a user's function": "mine.make",
    "a function of Python": "os.system",
    "a class of Python": "subprocess.Popen",
    "a builtin": "builtins.exec",
    "a class of torch": "torch.nn.Linear",
    "a function of torch": "torch.hub.load",
    "a function of ours": "paratime.io.figures.save_figure",
    "a class of ours of another kind": "paratime.errors.InputError",
    "what ours imports": "paratime.world.data.environment.import_module",
    "a command": "paratime.__main__.main",
    "code": f"__import__('os').system('touch {MARK}')",
    "a file": "./mine.yaml",
    "nothing": "",
    "a number": 3,
    "a list": ["mine.MyMixer"],
}
FORMS = {
    "path": lambda name: name,
    "class": lambda name: {"class_path": name, "init_args": {}},
    "arguments": lambda name: {"class_path": name, "init_args": {"args": [CALL], "cmd": CALL}},
    "inner": lambda name: {"class_path": "paratime.ParaGRU", "init_args": {"init": name}},
    "inner class": lambda name: {
        "class_path": "paratime.ParaGRU",
        "init_args": {"solver": {"class_path": name, "init_args": {"source": CALL}}},
    },
}
PLACES = {
    "mixer": lambda x: {"encoder": {"width": 8, "depth": 1, "mixer": x}},
    "encoder": lambda x: {"encoder": x if isinstance(x, dict) else {"class_path": x}},
    "decay": lambda x: {
        "encoder": {"width": 8, "depth": 1},
        "optimizer": {"decay": x if isinstance(x, dict) else {"class_path": x}},
    },
    "optimizer": lambda x: {
        "encoder": {"width": 8, "depth": 1},
        "optimizer": x if isinstance(x, dict) else {"class_path": x},
    },
}
TASKS = {
    "language": (LanguageTask, load_task),
    "forecast": (ForecastTask, load_forecaster),
    "world": (WorldTask, lambda path: restore_task(path, [WorldTask])),
    "dynamics": (DynamicsTask, lambda path: restore_task(path, [DynamicsTask])),
}
INSTANTIATORS = ("lightning.pytorch.cli.instantiate_module", "mine.make", "os.system")


def hyperparameters(kind: type[Task], **others) -> dict:
    spec = {"spec": TokenSpec(257).plain()} if kind is LanguageTask else {}
    path = f"{kind.__module__}.{kind.__qualname__}"
    return {"_class_path": path, "_instantiator": INSTANTIATORS[0]} | spec | others


def save_checkpoint(path: str, parameters: dict) -> str:
    torch.save({"hyper_parameters": parameters, "state_dict": {}}, path)
    return path


def refused(load, *arguments):
    with pytest.raises(InputError) as found:
        load(*arguments)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("slice_", TASKS)
def test_checkpoints_name_no_code(slice_, name):
    kind, load = TASKS[slice_]
    for number, place in enumerate(PLACES.values()):
        for form in FORMS.values():
            given = place(form(name)) | {"_instantiator": INSTANTIATORS[number % 3]}
            path = save_checkpoint("a.ckpt", hyperparameters(kind, **given))
            refused(load, path)
            refused(kind.load_from_checkpoint, path)
        given = {"_class_path": name, "encoder": {"width": 8, "depth": 1}}
        path = save_checkpoint("a.ckpt", hyperparameters(kind, **given))
        refused(load, path)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_exports_name_no_code(name):
    model = hyperparameters(LanguageTask, encoder={"width": 8, "depth": 1})
    path = model.pop("_class_path")
    for place in PLACES.values():
        for form in FORMS.values():
            recipe = {"class_path": path, "init_args": model | place(form(name))}
            config = {"model_type": "paratime", "model": recipe}
            Path("config.json").write_text(json.dumps(config))
            refused(from_exported, ".")
    recipe = {"class_path": name, "init_args": model}
    Path("config.json").write_text(json.dumps({"model_type": "paratime", "model": recipe}))
    refused(from_exported, ".")


SERIES = SeriesSpec.of(
    {
        **{"freq": "D", "prediction_length": 2, "season": 7, "target": 1, "known": 10, "past": 0},
        **{
            "static_real": 0,
            "categories": {},
            "names": {"known": [], "past": [], "static_real": []},
        },
        "standard": {"known": (), "past": (), "static_real": (), "dated": True},
    }
)


def write_forecaster(folder: str, change=lambda about: None) -> str:
    """Write a forecaster that was not trained, whose JSON is changed."""
    recipe = Recipe(hidden_size=8, num_layers=1)
    ParaRNNPredictor(recipe, SERIES.plain()).serialize(Path(folder))
    about, weights = (Path(folder, name) for name in ("predictor.json", "weights.pt"))
    content = json.loads(about.read_text())
    change(content)
    about.write_text(json.dumps(content))
    saved = torch.load(weights, weights_only=True)
    torch.save(saved | {"of": sha256(about.read_bytes()).hexdigest()}, weights)
    return folder


def instance(name, args=(), **kwargs) -> dict:
    return {"__kind__": "instance", "class": name, "args": [*args], "kwargs": kwargs}


SERDE = {
    "type": lambda name: {"__kind__": "type", "class": name},
    "instance": lambda name: instance(name, [CALL]),
    "keywords": lambda name: instance(name, args=CALL, cmd=CALL, source=CALL),
    "stateful": lambda name: {"__kind__": "stateful", "class": name, "kwargs": {"a": CALL}},
    "partial": lambda name: instance(
        "functools.partial",
        [instance("builtins.tuple", [[{"__kind__": "type", "class": name}, CALL]])],
    ),
    "plain partial": lambda name: instance(
        "functools.partial", [{"__kind__": "type", "class": name}, CALL]
    ),
    "attribute": lambda name: instance("builtins.getattr", [name, "system"]),
    "inside": lambda name: instance("paratime.ParaGRU", init=instance(name, [CALL])),
}


@pytest.mark.parametrize("name", [x for x in NAMES.values() if x != ""], ids=str)
def test_forecasters_name_no_code(name):
    for form in SERDE.values():
        for place in ("mixer", "output"):

            def change(about, form=form, place=place):
                about["kwargs"]["recipe"]["kwargs"][place] = form(name)

            refused(load_forecaster, write_forecaster("f", change))
        for place in ("recipe", "forecasts"):

            def change(about, form=form, place=place):
                about["kwargs"][place] = form(name)

            refused(ParaRNNPredictor.deserialize, Path(write_forecaster("f", change)))
    refused(load_forecaster, write_forecaster("f", lambda about: about.update({"class": name})))
    config = {"model": name, "type": name}
    Path(write_forecaster("f"), "gluonts-config.json").write_text(json.dumps(config))
    load_forecaster("f")  # which does not read it


def forecasting() -> ForecastTask:
    return ForecastTask(Encoder(8, 1, mlp_size=0), SERIES)


def save_shards(content: dict, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # that there is one process
        shards.save(content, checkpoint_id=path, no_dist=True)


def sharded(path: Path) -> None:
    save_shards({"state_dict": {"w": torch.ones(2)}}, path)
    torch.save({"hyper_parameters": {}}, path / "meta.pt")


def with_pickle(path: Path) -> None:
    sharded(path)
    (path / ".metadata").write_bytes(pickle.dumps(Touch()))


def with_bytes(path: Path) -> None:
    save_shards({"state_dict": {"w": torch.ones(2)}, "a": Touch()}, path)
    torch.save({"hyper_parameters": {}}, path / "meta.pt")


def with_meta(path: Path) -> None:
    sharded(path)
    torch.save(Touch(), path / "meta.pt")


def with_path(path: Path) -> None:
    sharded(path)
    about = pickle.loads((path / ".metadata").read_bytes())
    for stored in about.storage_data.values():
        stored.relative_path = "../mine.py"
    (path / ".metadata").write_bytes(pickle.dumps(about))


def pickled(path: Path) -> None:
    torch.save({"state_dict": Touch(), "hyper_parameters": {}}, path)


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Touch()))


@pytest.mark.parametrize("write", [pickled, bare, with_pickle, with_bytes, with_meta, with_path])
def test_pickles_in_checkpoints_do_not_run(write):
    write(Path("a.ckpt"))
    loads = [load for _, load in TASKS.values()]
    for load in (
        *loads,
        read_checkpoint,
        *(kind.load_from_checkpoint for kind, _ in TASKS.values()),
    ):
        refused(load, "a.ckpt")


def test_a_folder_of_shards_is_read():
    sharded(Path("a"))
    check_shards("a")
    assert torch.equal(read_checkpoint("a")["state_dict"]["w"], torch.ones(2))


def test_the_command_that_continues_a_run_refuses_pickles(paratime):
    for write in (pickled, with_pickle):
        write(Path("a.ckpt"))
        status, _, error = paratime("fit", "--model", "WorldTask", "--ckpt_path", "a.ckpt")
        assert status == 2 and error.startswith("paratime: ") and error.count("\n") == 1
        shutil.rmtree("a.ckpt") if Path("a.ckpt").is_dir() else Path("a.ckpt").unlink()


@pytest.mark.parametrize("write", [pickled, bare])
def test_pickles_in_other_files_of_torch_do_not_run(write):
    write(Path("states.pt"))
    refused(Forecaster.restore, "states.pt", forecasting())
    write(Path(write_forecaster("f"), "weights.pt"))
    refused(load_forecaster, "f")
    write(Path("step.pt2"))
    write(Path("state.pt"))
    refused(load_step, ".")


@pytest.fixture(scope="module")
def step(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("step")
    export_step(LanguageTask(Encoder(8, 1, mlp_size=0), TokenSpec(11)), folder)
    return folder


def rewrite(folder: Path, change) -> None:
    """Write the step of a folder here, with the content of each member changed."""
    shutil.copy(folder / "state.pt", "state.pt")
    with ZipFile(folder / "step.pt2") as old, ZipFile("step.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def in_json(member: str, change):
    """Return a change of one JSON member."""

    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith(member):
            return content
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def first_node(**fields):
    def change(model):
        model["graph_module"]["graph"]["nodes"][0].update(fields)

    return in_json("models/model.json", change)


def of_weights(**fields):
    def change(about):
        next(iter(about["config"].values())).update(fields)

    return in_json("model_weights_config.json", change)


TEXT = [{"name": "x", "arg": {"as_string": CALL}, "kind": 1}]
REFUSED_STEPS = {
    **{
        target: first_node(target=target, inputs=TEXT)
        for target in (
            *("os.system", "builtins.exec", "torch.hub.load", "torch.ops.load_library"),
            *("torch.ops.aten.from_file.default", "torch.ops.aten.set_.source_Tensor"),
            *("_operator.__import__", "#mine:make", "math.__loader__.load_module"),
            *("torch.ops.paratime.scan.default.__globals__", "torch.ops.aten.add", 3),
        )
    },
    "graph argument": first_node(inputs=[{"name": "x", "arg": {"as_graph": {}}, "kind": 1}]),
    "operator argument": first_node(inputs=[{"name": "x", "arg": {"as_operator": "os.system"}}]),
    "pickled weight": of_weights(use_pickle=True),
    "weight elsewhere": of_weights(path_name="../../mine.py"),
}


@pytest.mark.parametrize("change", REFUSED_STEPS.values(), ids=map(str, REFUSED_STEPS))
def test_steps_that_would_run_code_are_refused(change, step):
    rewrite(step, change)
    refused(load_step, ".")


def symbolic(model):
    """Put code everywhere where torch would evaluate or compile text."""
    graph = model["graph_module"]["graph"]
    for name in graph["sym_int_values"]:
        graph["sym_int_values"][name] = {"as_expr": {"expr_str": CALL, "hint": {"as_int": 2}}}
    model["guards_code"] = [CALL]
    model["range_constraints"] = {CALL: {"min_val": 2, "max_val": None}}
    for node in graph["nodes"]:
        node["metadata"] = {"stack_trace": CALL, "nn_module_stack": CALL, "torch_fn": CALL}
    model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = CALL


def payload(name: str, content: bytes) -> bytes:
    return pickle.dumps(Touch()) if "sample_inputs" in name else content


def test_steps_read_neither_code_nor_pickles_that_torch_would_run(step):
    ids = torch.tensor([1, 2])
    expected = load_step(step).step(ids)[0]
    for change in (payload, in_json("models/model.json", symbolic)):
        rewrite(step, change)
        assert torch.equal(load_step(".").step(ids)[0], expected)


def test_arrays_of_objects_are_refused():
    Path("episodes").mkdir()
    np.savez("episodes/a.npz", action=np.array([Touch()] * 3, dtype=object))
    refused(lambda: trajectory_source("episodes").read())


def linked(path: str) -> None:
    with h5py.File("other.h5", "w") as file:
        file["rows"] = np.zeros((4, 2))
    with h5py.File(path, "w") as file:
        for key in ("actions", "rewards", "terminals", "timeouts"):
            file[key] = np.zeros(4)
        file["observations"] = h5py.ExternalLink("other.h5", "rows")


def virtual(path: str) -> None:
    linked(path)
    layout = h5py.VirtualLayout((4, 2), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "rows", (4, 2))
    with h5py.File(path, "a") as file:
        del file["observations"]
        file.create_virtual_dataset("observations", layout)


def external(path: str) -> None:
    linked(path)
    with h5py.File(path, "a") as file:
        del file["observations"]
        place = [("mine.py", 0, 64)]
        file.create_dataset("observations", (4, 2), "f8", external=place)


@pytest.mark.parametrize("write", [linked, virtual, external])
def test_hdf5_names_no_other_files(write):
    write("a.hdf5")
    refused(lambda: trajectory_source("a.hdf5").read())


OUTSIDE = ("../secret", "/etc/passwd", "/dev/zero", "link", "a/../../secret", 3, ["a"])


@pytest.mark.parametrize("name", OUTSIDE, ids=str)
def test_manifests_name_no_files_elsewhere(name):
    Path("secret").write_bytes(b"1234")
    folder = Path("corpus")
    folder.mkdir()
    (folder / "link").symlink_to(Path("secret").resolve())
    digest = sha256(b"1234").hexdigest()
    part = {"file": name, "sha256": digest}
    about = {"format": FORMAT, "dtype": "<u2", "shard_tokens": 2}
    about["splits"] = {"train": {"shards": [part], "index": part, "tokens": 2}}
    (folder / "manifest.json").write_text(json.dumps(about))
    refused(open_split, folder, "train")
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    if name != "link":  # caches of downloads consist of links
        refused(read_weights, folder)


ENVIRONMENTS = {
    "id": ("mine:Evil-v0", []),
    "function": ("Pendulum-v1", ["os.system"]),
    "module": ("Pendulum-v1", ["mine.make"]),
    "recorder": ("Pendulum-v1", [{"entry_point": "gymnasium.wrappers:RecordVideo", "kwargs": {}}]),
    "import": ("Pendulum-v1", ["gymnasium.wrappers.common.deepcopy"]),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_of_data_import_nothing(name):
    environment, wrappers = ENVIRONMENTS[name]
    refused(check_trusted, environment, EnvironmentOptions(wrappers=wrappers))


def test_exported_weights_are_refused_after_a_flipped_byte():
    task = LanguageTask(Encoder(8, 1, mlp_size=0), TokenSpec(11))
    recipe = {
        "class_path": "paratime.language.model.task.LanguageTask",
        "init_args": {
            "encoder": {"width": 8, "depth": 1, "mlp_size": 0},
            "spec": TokenSpec(11).plain(),
        },
    }
    write_folder(task, recipe, "out")
    assert from_exported("out").head.out_features == 11
    path = Path("out/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(from_exported, "out")


def test_partials_of_our_own_classes_are_read():
    def change(about):
        solver = instance("paratime.solvers.newton.Newton", chunk=4)
        mixer = {"__kind__": "type", "class": "paratime.layers.recurrent.ParaGRU"}
        places = [instance("builtins.tuple", [[mixer]])]
        about["kwargs"]["recipe"]["kwargs"]["mixer"] = instance(
            "functools.partial", [], solver=solver
        ) | {"args": places[0]}

    write_forecaster("f", change)
    mixer = ParaRNNPredictor.deserialize(Path("f")).recipe.mixer
    assert isinstance(mixer, partial) and mixer.keywords["solver"].chunk == 4
