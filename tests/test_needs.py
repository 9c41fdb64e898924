"""What the core and the first command on a GPU need to be installed: torch, and little else."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CORE = ("ops", "cells", "solvers", "layers", "baselines")
MODULES = [
    *(ROOT / "paratime" / f"{x}.py" for x in ("__init__", "errors", "lazy", "moved", "testing")),
    *(p for folder in CORE for p in sorted((ROOT / "paratime" / folder).rglob("*.py"))),
]
BARE = ("torch", "numpy")
GPU = (*BARE, "triton", "lightning", "torchmetrics", "pandas", "pytest")
"""What a machine with a GPU has."""

ABSENT = {"jsonargparse", "matplotlib", "gluonts", "xdist", "ninja", "platformdirs", "scipy"}
ABSENT |= {"hypothesis", "transformers", "mambapy"}

BLOCKER = """
import json, os
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError
modules, names = map(set, json.loads(os.environ["BLOCKED"]))
class Finder:
    found = PathFinder.find_spec
    def __call__(self, name, path=None, target=None):
        return None if name.partition(".")[0] in modules else self.found(name, path, target)
class Names:
    found = Distribution.from_name
    def __call__(self, name):
        if name.replace("_", "-").lower() in names: raise PackageNotFoundError(name)
        return self.found(name)
PathFinder.find_spec, Distribution.from_name = Finder(), Names()
"""
"""A ``sitecustomize`` with which a process, and all that it starts, finds no other packages."""

RUN = """
import importlib, sys, torch, paratime, paratime.testing
from paratime.ops.native import library
for name in sys.argv[1:]: importlib.import_module(name)
for name in paratime.__all__: getattr(paratime, name)
x = torch.randn(2, 9, 8, requires_grad=True)
for mixer in (paratime.ParaGRU, paratime.ParaLSTM, paratime.MinGRU, paratime.Mamba2):
    layer = mixer(8)
    y, _ = layer(x, reset=torch.rand(2, 9) < 0.3)
    y.square().sum().backward()
    assert x.grad.isfinite().all(), mixer
    paratime.testing.check_mixer(lambda mixer=mixer: mixer(8), x.detach())
assert library.symbol("gru1_forward_float32") is not None
print("done")
"""


def with_all_they_need(names: Iterable[str]) -> set[str]:
    """Return distributions and, over their metadata, all that they require."""
    found, ahead = set(), deque(names)
    while ahead:
        name = re.sub(r"[-_.]+", "-", ahead.popleft()).lower()
        if name not in found:
            found.add(name)
            try:
                needed = [Requirement(x) for x in requires(name) or ()]
            except PackageNotFoundError:
                continue
            active = (x for x in needed if not x.marker or x.marker.evaluate({"extra": ""}))
            ahead += [x.name for x in active]
    return found


def blocked(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the modules, and the names, of all other distributions."""
    allowed, owners = with_all_they_need(names) | {"pip", "setuptools"}, {}
    for module, distributions in packages_distributions().items():
        owners[module] = {re.sub(r"[-_.]+", "-", x).lower() for x in distributions}
    others = set().union(*owners.values()) - allowed
    modules = {x for x, owned in owners.items() if not owned & allowed} - {"paratime"}
    return sorted(modules), sorted(others)


def run(folder: Path, names: Iterable[str], *command: object) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout, where nothing but some distributions is installed."""
    (folder / "sitecustomize.py").write_text(BLOCKER)
    variables = {
        "BLOCKED": json.dumps(blocked(names)),
        "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT))),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT / "paratime")))
def test_the_core_imports_nothing_but_torch(path):
    roots = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).split(".")[0])
    assert roots - sys.stdlib_module_names <= {"torch", "paratime", "mamba_ssm"}


def test_the_blocker_blocks(tmp_path):
    assert {"jsonargparse", "lightning", "pytest", "matplotlib"} <= set(blocked(BARE)[0])
    code = "from importlib.util import find_spec; print(find_spec('pandas'))\nimport pandas"
    done = run(tmp_path, BARE, "-c", code)
    assert done.stdout == "None\n" and "No module named 'pandas'" in done.stderr


def test_the_core_runs_where_only_torch_is(tmp_path):
    names = (".".join(p.relative_to(ROOT).with_suffix("").parts) for p in MODULES)
    own = [x.removesuffix(".__init__") for x in names]
    done = run(tmp_path, BARE, "-W", "error", "-c", RUN, *own)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "done\n"


def test_the_tests_of_a_gpu_are_collected_where_little_is(tmp_path):
    assert set(blocked(GPU)[0]) >= ABSENT & set(packages_distributions())
    command = ("-m", "pytest", "--collect-only", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider")
    done = run(tmp_path, GPU, *command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"^[0-9]+/[0-9]+ tests collected", done.stdout, re.M)


def test_the_report_runs_where_little_is(tmp_path):
    folder = tmp_path / "report"
    script = ROOT / "experiments" / "cuda" / "report.py"
    done = run(tmp_path, GPU, script, "--dry-run", "--folder", folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "all is right" in done.stdout.splitlines()[-1] and len(done.stdout) < 20_000
    rows = pd.read_csv(folder / "results.csv")
    assert set(rows.what) == {"kernel", "layer", "method", "language"}
    assert rows.ms.notna().all() and set(rows.device) == {"emulation on a CPU"}
    assert len(pd.read_csv(folder / "accuracy.csv")) == 16
    parity = json.loads((folder / "parity" / "parity.json").read_text())
    assert parity["passed"] >= 3 and not parity["failed"]
