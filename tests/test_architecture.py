"""The rules that keep the package readable: who may import whom, and how large things may be."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "paratime"
MODULES = sorted(PACKAGE.rglob("*.py"))

SLICES = ("language", "forecast", "world")
LAYERS = (
    ("errors", "lazy", "moved"),
    ("io",),
    ("ops",),
    ("cells",),
    ("codegen",),
    ("solvers",),
    ("layers", "testing"),
    ("baselines",),
    ("training",),
    ("cli",),
    SLICES,
    ("compare", "doctor"),
    ("main",),
)
"""From the bottom up; a module imports its own layer and those below. Slices stand side by side."""

ROOMS = (
    ("tokenizers",),
    ("data",),
    ("model",),
    ("generation", "inference", "streaming", "planning"),
    ("evaluation", "export", "fitting", "gluonts"),
    ("commands",),
)
"""Of a slice, likewise."""

ENTRIES = ("__init__", "__main__")
"""They import lazily what is asked for."""

HEAVY = {"lightning", "torchmetrics", "gluonts", "pandas", "jsonargparse", "tensorboard"}
NUMERICS = {"errors", "ops", "cells", "codegen", "solvers", "layers", "baselines", "testing"}

MODULES_A_FOLDER, LINES_A_FILE, LINES_A_FUNCTION = 12, 600, 60

SAME_IDEA = {
    "Gaussian": "a normal distribution: of forecasts, and of latents",
    "InMemory": "a source of what is in memory already",
    "JsonLines": "a source that reads JSON Lines",
    "Source": "where a slice's data comes from",
    "Table": "a source that reads a long table",
    "main": "the entry of a command line",
    "run": "a command",
}
"""Public functions and classes that live in several modules, because they are one idea in each."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def place(module: str, rows: tuple[tuple[str, ...], ...], name: str) -> int:
    """Return the row of a table that a layer or room stands in."""
    found = [i for i, side_by_side in enumerate(rows) if name in side_by_side]
    assert found, f"{module}: {name!r} has no place in the layout"
    return found[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> frozenset[str]:
    """Return what a file imports, wherever in it: modules, and names in them."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(path: Path) -> set[str]:
    """Return the modules of paratime that a file imports, without their package's name."""
    targets = {t.removeprefix("paratime.") for t in imports(path) if t.startswith("paratime.")}
    return {target for target in targets if target in NAMES}


def is_entry(path: Path) -> bool:
    return path.stem in ENTRIES and path.parent.name != "commands"


def functions() -> Iterator[tuple[str, int]]:
    """Yield every function with its number of lines, without those of its docstring."""
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1 - _docstring_lines(node)
                yield f"{name_of(path)}.{node.name}", lines


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_docstring else 0


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards(path):
    if is_entry(path):
        return
    name = name_of(path)
    own = name.split(".")[0]
    for target in own_imports(path):
        other = target.split(".")[0]
        above = place(target, LAYERS, other) > place(name, LAYERS, own)
        assert not above, f"{name} imports {target}"
        assert own == other or not {own, other} <= {*SLICES}, f"{name} imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_of_a_slice_import_downwards(path):
    name = name_of(path)
    home, _, rest = name.partition(".")
    if home not in SLICES or not rest or is_entry(path):
        return
    own = place(name, ROOMS, rest.split(".")[0])
    for target in own_imports(path):
        there, _, inside = target.partition(".")
        if there == home and inside:
            above = place(target, ROOMS, inside.split(".")[0]) > own
            assert not above, f"{name} imports {target}"


def test_no_files_import_each_other_in_a_circle():
    arrows = {name_of(p): own_imports(p) - {name_of(p)} for p in MODULES if not is_entry(p)}
    left = dict(arrows)
    while free := [n for n, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}, f"a circle runs through some of {sorted(left)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_numerics_import_torch_and_nothing_heavier(path):
    if name_of(path).split(".")[0] in NUMERICS:
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


def test_a_name_on_the_path_of_tests_means_one_file():
    """Tests import each other's helpers and what experiments consist of by their bare names."""
    spec = importlib.util.spec_from_file_location("_", ROOT / "tests/experiments/conftest.py")
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    folders = [ROOT / "tests", *(ROOT / "experiments" / name for name in conftest.NAMES)]
    rooms = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir()]
    names = Counter(rooms + [path.stem for folder in folders for path in folder.glob("*.py")])
    assert {name for name, count in names.items() if count > 1} == {"run"}


def test_rooms_files_and_functions_are_small():
    folders = Counter(path.parent for path in MODULES if path.stem != "__init__")
    assert {str(f): n for f, n in folders.items() if n > MODULES_A_FOLDER} == {}
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in MODULES}
    assert {n: k for n, k in lengths.items() if k > LINES_A_FILE} == {}
    lines = dict(functions())
    assert {n: k for n, k in lines.items() if k > LINES_A_FUNCTION} == {}
    assert median(lines.values()) <= 10
    assert quantiles(lines.values(), n=20)[-1] <= 50


def test_a_public_name_lives_in_one_module():
    homes = defaultdict(set)
    for path in MODULES:
        for node in tree(path).body if not is_entry(path) else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                homes[node.name].add(name_of(path))
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    assert {n: found for n, found in twice.items() if n not in SAME_IDEA} == {}


def test_every_room_says_what_is_in_it():
    for folder in {path.parent for path in MODULES}:
        assert (ast.get_docstring(tree(folder / "__init__.py")) or "").endswith("."), folder


def test_every_public_argument_is_annotated():
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                bare = {a.arg for a in arguments if a.annotation is None} - {"self", "cls"}
                assert not bare, f"{name_of(path)}.{node.name}: {bare}"


def test_an_error_is_written_where_it_is_raised():
    words = {"expected", "got", "remedy"}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            block = getattr(node, "body", [])
            for before, after in pairwise(block if isinstance(block, list) else []):
                if isinstance(after, ast.Raise) and isinstance(before, ast.Assign):
                    names = {n.id for t in before.targets for n in ast.walk(t) if hasattr(n, "id")}
                    assert not names <= words, f"{name_of(path)}:{before.lineno}"


INTERNALS = ("ops", "solvers")
"""Experiments that measure the core take it apart."""

USES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(p for folder in ("docs", "datasets", "experiments") for p in (ROOT / folder).rglob("*.md")),
    *(ROOT / "experiments").rglob("*.py"),
]


@pytest.mark.parametrize("path", USES, ids=lambda p: str(p.relative_to(ROOT)))
def test_users_import_what_a_package_exports(path):
    for module in re.findall(r"^\s*(?:from|import) paratime\.([\w.]+)", path.read_text(), re.M):
        home, _, deeper = module.partition(".")
        assert not deeper or home in INTERNALS, f"{path} imports paratime.{module}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_is_light_and_lazy():
    code = "import paratime, sys; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    assert run_python(code).strip() == "[]"


@pytest.mark.parametrize("package", [*SLICES, "baselines", "cells", "training"])
def test_the_names_of_a_package_load_nothing_until_one_is_used(package):
    code = (
        f"import sys, paratime.{package} as package; names = [*package.__all__, *dir(package)]\n"
        "heavy = [m for m in ('torch', 'lightning', 'gluonts', 'pandas') if m in sys.modules]\n"
        "print(heavy)\n"
        "for name in package.__all__: getattr(package, name)"
    )
    assert run_python(code).splitlines()[0] == "[]"


@pytest.mark.parametrize("package", [*SLICES, "baselines", "cells", "training"])
def test_a_package_lists_its_names_in_its_docstring(package):
    path = PACKAGE / package / "__init__.py"
    code = f"import paratime.{package} as package; print('\\n'.join(package.__all__))"
    names = set(run_python(code).split())
    missing = {name for name in names if name not in ast.get_docstring(tree(path))}
    assert names and not missing


def test_all_public_names_import_without_anything_heavy():
    code = (
        "import paratime, sys\n"
        "for name in paratime.__all__: getattr(paratime, name)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), len(paratime.__all__))"
    )
    assert run_python(code).strip() == "[] 22"


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


def test_the_command_line_needs_nothing_of_unix_alone():
    code = (
        "import sys; sys.modules.update(fcntl=None, pwd=None, grp=None, resource=None)\n"
        "import paratime.main, paratime.compare.command\n"
        "print('imported')"
    )
    assert run_python(code).strip() == "imported"
