"""The rules that keep the package readable: who may import whom, and how long things may be."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "paratime"
MODULES = sorted(PACKAGE.rglob("*.py"))

SLICES = ("language", "forecast", "world")
LAYERS = (
    ("errors",),
    ("ops",),
    ("cells",),
    ("solvers",),
    ("layers",),
    ("baselines",),
    ("task",),
    SLICES,
    ("compare",),
    ("cli",),
)
"""From the bottom up; a module imports its own layer and those below. Slices stand side by side."""

ASIDE = {
    "atomic": "errors",
    "cache": "errors",
    "carry": "errors",
    "compiling": "layers",
    "figures": "errors",
    "files": "errors",
    "testing": "layers",
    "messages": "errors",
    "info": "ops",
    "optimizer": "layers",
    "page": "errors",
    "peak": "errors",
    "progress": "task",
    "predictions": "task",
    "parser": "task",
    "loader": "errors",
}
"""Modules outside the layers, and the highest layer that each may import."""

ENTRIES = ("__init__", "__main__")
"""They import lazily whatever is asked for."""

HEAVY = {"lightning", "torchmetrics", "gluonts", "pandas", "jsonargparse", "tensorboard"}
NUMERICS = {"errors", "ops", "cells", "solvers", "layers", "baselines"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def rank(module: str) -> int:
    layer = ASIDE.get(module, module)
    return next(i for i, side_by_side in enumerate(LAYERS) if layer in side_by_side)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def home(module: str) -> str:
    """Return the layer of ``a.b.c`` within paratime."""
    return module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards(path):
    name = name_of(path)
    if name in ENTRIES:
        return
    own = home(name)
    for target in imports(path):
        if not target.startswith("paratime."):
            continue
        other = home(target.removeprefix("paratime."))
        assert rank(other) <= rank(own), f"{name} imports {target}"
        assert own == other or not {own, other} <= {*SLICES}, f"{name} imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_numerics_import_torch_and_nothing_heavier(path):
    if home(name_of(path)) in NUMERICS:
        roots = {target.split(".")[0] for target in imports(path)}
        assert not roots & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_solvers_know_no_concrete_cell_and_nobody_knows_tests_or_experiments(path):
    targets = imports(path)
    if name_of(path).startswith("solvers"):
        assert not {t for t in targets if t.startswith("paratime.cells.")} - {
            t for t in targets if t.startswith("paratime.cells.base")
        }
    roots = {target.split(".")[0] for target in targets}
    assert not roots & {"tests", "experiments", "cases", "pytorch_lightning"}


def test_files_and_functions_are_small():
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in MODULES}
    assert {n: k for n, k in lengths.items() if k > 300} == {}
    functions = [
        node.end_lineno - node.lineno + 1 - _docstring_lines(node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert median(functions) <= 10
    assert quantiles(functions, n=20)[-1] <= 50


def _docstring_lines(node: ast.FunctionDef) -> int:
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_docstring else 0


def test_every_public_argument_is_annotated():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                bare = {a.arg for a in arguments if a.annotation is None} - {"self", "cls"}
                assert not bare, f"{name_of(path)}.{node.name}: {bare}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_is_light_and_lazy():
    code = "import paratime, sys; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_all_public_names_import_without_anything_heavy():
    code = (
        "import paratime, sys\n"
        "for name in paratime.__all__: getattr(paratime, name)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), len(paratime.__all__))"
    )
    assert run_python(code).strip() == "[] 21"


def test_import_takes_under_two_seconds_on_top_of_torch():
    code = (
        "import torch, time; began = time.process_time(); import paratime\n"
        "for name in paratime.__all__: getattr(paratime, name)\n"
        "print(time.process_time() - began)"
    )
    assert min(float(run_python(code)) for _ in range(3)) < 2  # the first reads cold files


def test_light_commands_import_neither_torch_nor_lightning():
    code = (
        "import sys; from paratime.__main__ import main\n"
        "for args in (['--help'], ['--version'], ['info'], []):\n"
        "    sys.argv = ['paratime', *args]; main()\n"
        "print([m for m in ('torch', 'lightning', 'numpy') if m in sys.modules])"
    )
    assert run_python(code).strip().endswith("[]")
