"""The static gate: what it asks of the kernels, and that each violation makes it fail."""

import itertools
import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import static
from binary import disassemble, exported
from instruction import Instruction
from launches import Block, blocks_of
from limits import LIMITS, STAGED, Limit
from loops import Staging
from sass import Kernel, kernels
from static import Compiled, Step, judge, limit_of, missing, step_of

from paratime.ops.native import targets
from paratime.ops.native.build import CannotBuild

SAMPLES = Path(__file__).parent / "samples"
CELLS = ("Gru<1>", "Gru<2>", "Gru<4>", "Lstm<1>", "Lstm<2>")


def kernel(name: str, arguments: str, registers: int = 64) -> Kernel:
    """Return a kernel of ``csrc/cuda`` without code."""
    return Kernel(f"void paratime::{name}<{arguments}>", registers, 0, 0, 0, ())


def recurrence(name: str, cell: str, drive: str) -> Kernel:
    arguments = f"paratime::{cell}, {drive}"
    scan = f"paratime::Adjoint<{arguments} > "
    return kernel(name, scan if name == "scan_tiles" else arguments)


@cache
def good() -> Compiled:
    """Return a kernel with two MUFU, one load, and 8 bytes a step, that is within its limits."""
    text = (SAMPLES / "sm_90.sass").read_text(encoding="utf-8")
    found = next(x for x in kernels(text) if x.name == "good")
    return Compiled("sm_90", found, Block(256, 0), Step(2, 1, 8), Limit((24, 26, 32), 9.25, 64))


def with_code(*opcodes: str) -> dict[str, Kernel]:
    """Return the good kernel with more instructions, which call themselves if they call."""
    code = good().kernel.code
    last = code[-1].address
    more = [Instruction(last + 16 * i, False, x, f"{last:#x}") for i, x in enumerate(opcodes, 1)]
    return {"kernel": replace(good().kernel, code=(*code, *more))}


def with_staging(ahead: int = 0) -> Limit:
    return replace(good().limit, staging=Staging(2, 3, 2), ahead=ahead)


def staging(*opcodes: str) -> dict[str, Kernel]:
    """Return the good kernel with one more loop, instead of its end."""
    code = good().kernel.code
    end = next(i for i, x in enumerate(code) if x.base == "EXIT" and not x.guarded)
    first = code[end].address
    more = [Instruction(first + 16 * i, False, x, "") for i, x in enumerate(opcodes)]
    back = Instruction(first + 16 * len(more), True, "BRA", f"{first:#x}")
    return {"kernel": replace(good().kernel, code=(*code[:end], *more, back))}


def test_a_good_kernel_passes():
    assert list(judge(good())) == []


VIOLATIONS = {
    "a stack": (
        {"kernel": replace(good().kernel, stack=16)},
        "spills: 16 bytes, 0 loads and stores",
    ),
    "local memory": (
        {"kernel": replace(good().kernel, local=8)},
        "spills: 8 bytes, 0 loads and stores",
    ),
    "spilled registers": (with_code("LDL.64", "STL"), "spills: 0 bytes, 2 loads and stores"),
    "a call": (with_code("CALL.REL.NOINC"), "calls: 1, at most 0"),
    "a stray double": (with_code("DADD", "F2F.F64.F32"), "double precision: DADD, F2F.F64.F32"),
    "registers": (
        {"limit": Limit((24, 25, 32), 9.25, 64)},
        "registers: 26, at most 25",
    ),
    "instructions": (
        {"limit": Limit((24, 26, 32), 9.2, 64)},
        "instructions a step: 9.25, at most 9.2",
    ),
    "too many MUFU": (
        {"step": Step(3, 1, 16), "limit": Limit((24, 26, 32), 18.5, 64)},
        "MUFU a step: 4, at most 3",
    ),
    "steps that are none": ({"step": Step(1, 1, 8)}, "loads a step: 0.5, at least 1"),
    "too many bytes": ({"step": Step(2, 1, 7)}, "bytes a step: 8, at most 7"),
    "narrow copies": ({"step": Step(2, 1, 8, copies=1)}, "copies of 16 bytes: 0, at least 1"),
    "slow copies": (
        {"limit": with_staging(), **staging("IADD3", "LDGSTS.E.BYPASS.128")},
        "instructions a copy: 3, at most 2",
    ),
    "slow numbers": (
        {"limit": with_staging(), **staging("IADD3", "LDG.E", "STS")},
        "instructions a number: 4, at most 3",
    ),
    "slow prefetches": (
        {"limit": with_staging(), **staging("IADD3", "CCTL.E.PF2")},
        "instructions a prefetch: 3, at most 2",
    ),
    "loads one by one": ({"limit": with_staging(ahead=2)}, "loads under way: 0, at least 2"),
    "occupancy": ({"block": Block(256, 29000)}, "resident warps: 56, at least 64"),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_a_violation_is_found(case):
    changes, violation = VIOLATIONS[case]
    assert list(judge(replace(good(), **changes))) == [violation]


def test_no_main_loop_is_a_violation():
    found = list(judge(replace(good(), step=Step(2, 5, 8))))
    assert found == ["MUFU a step: 0, at least 2", "loads a step: 0, at least 5"]


def test_doubles_are_allowed_where_a_template_argument_is_double():
    changes = with_code("DADD")
    symbol = "void paratime::good<paratime::Gru<1>, double, double>"
    allowed = replace(good(), kernel=replace(changes["kernel"], symbol=symbol))
    assert list(judge(allowed)) == []


@pytest.mark.parametrize(
    ("name", "cell", "drive", "step"),
    [
        ("forward_sequential", "Gru<1>", "float", Step(6, 3, 4 * 4 + 1)),
        ("forward_sequential", "Gru<2>", "paratime::BFloat16", Step(10, 6, 8 * 2 + 1)),
        ("forward_sequential", "Lstm<1>", "paratime::Half", Step(8, 3, 4 * 2 + 4 + 1)),
        ("forward_sequential", "Gru<4>", "double", Step(12, 12, (16 + 48) * 8 + 1)),
        ("backward_sequential", "Gru<1>", "float", Step(6, 3, 8 * 4 + 4 + 1)),
        ("backward_sequential", "Lstm<2>", "Half", Step(16, 6, 16 * 2 + 6 * 4 + 1)),
        ("backward_sequential", "Gru<4>", "double", Step(12, 12, (32 + 4 + 2 * 48) * 8 + 1)),
        ("forward_newton", "Gru<1>", "float", Step(6, 3, 0, copies=1)),
        ("scan_tiles", "Gru<4>", "float", Step(24, 12, 16 * 4 + 1, copies=3)),
        ("scan_tiles", "Lstm<2>", "double", Step(8, 6, 10 * 8 + 1, copies=4)),
    ],
)
def test_what_a_step_needs(name, cell, drive, step):
    assert step_of(recurrence(name, cell, drive)) == step


def test_what_a_step_of_a_scan_needs():
    assert step_of(kernel("scan_tiles", "paratime::Linear<4, double> ")) == Step(0, 20, copies=2)


def test_the_newton_kernel_is_within_the_bars_of_the_issue():
    limit = limit_of(recurrence("forward_newton", "Gru<1>", "float"))
    assert max(limit.registers) <= 64
    assert limit.instructions <= 55


def test_every_kernel_has_limits():
    names = ("forward_sequential", "backward_sequential", "forward_newton", "scan_tiles")
    for name, cell in itertools.product(names, CELLS):
        found = limit_of(recurrence(name, cell, "paratime::Half"))
        staging, ahead = STAGED.get(f"{name} {cell}", (Staging(), 0))
        assert found == replace(LIMITS[f"{name} {cell}"][0], staging=staging, ahead=ahead)
        assert (found.staging.copy > 0) == (name in ("forward_newton", "scan_tiles"))
        assert (found.ahead > 1) == (name == "scan_tiles")
    found = limit_of(recurrence("scan_tiles", "Lstm<1>", "double"))
    assert found.registers == LIMITS["scan_tiles Lstm<1>"][1].registers
    with pytest.raises(CannotBuild, match=r"^LIMITS says nothing of .*forward_newton<.*; add it"):
        limit_of(recurrence("forward_newton", "Gru<4>", "double"))
    with pytest.raises(CannotBuild, match=r"^LIMITS says nothing of .*Gru<8>"):
        limit_of(recurrence("forward_newton", "Gru<8>", "float"))


def test_the_kept_table_is_of_all_architectures_and_good():
    table = pd.read_csv(static.HERE / "static.csv")
    assert table.groupby("arch").size().to_dict() == dict.fromkeys(static.ARCHITECTURES, 84)
    assert set(table["verdict"]) == {"good"}
    newton = table[(table["kernel"] == "forward_newton") & (table["cell"] == "Gru<1>")]
    newton = newton[newton["drive"] == "float"]
    assert newton["registers"].max() <= 64 and newton["instructions/step"].max() <= 55


def names_of_the_interface() -> set[str]:
    formats = ("float32", "float64", "bfloat16", "float16")
    parallel = ("forward_newton", "backward_scan", "tile", "shared")
    parts = ("forward_sequential", "backward_sequential", *parallel)
    cells = ("gru1", "gru2", "gru4", "lstm1", "lstm2")
    names = {f"paratime_{'_'.join(x)}" for x in itertools.product(cells, parts, formats)}
    names -= {f"paratime_gru4_{part}_float64" for part in parallel}
    scans = itertools.product("124", ("", "tile_"), ("float32", "float64"))
    alone = {f"paratime_{name}" for name in ("error", "probe", "most_shared")}
    return {*names, *(f"paratime_scan{''.join((k, '_', *x))}" for k, *x in scans), *alone}


def test_exported_symbols():
    names = names_of_the_interface()
    assert missing(names | {"cudaLaunchKernel"}) == []
    for lost in sorted(names):
        (line,) = missing(names - {lost})
        found = re.fullmatch(r"symbols: (\d+) match (\S+), of (\d+)", line)
        assert int(found[1]) == int(found[3]) - 1 and re.fullmatch(found[2], lost)
    assert len(missing(names | {"paratime_gru4_tile_float64"})) == 1


@pytest.mark.skipif(targets.compiler() is None, reason="no C++ compiler")
def test_blocks_are_those_of_the_kernels():
    tile = 8 * 16 * 3 * 32 * 4  # warps, steps, gates, lanes and bytes
    newton = tile + 8 * 2 * 32 * 4 + 8 * 32 * 4 + 32 * 4 + 8 * 16  # maps, starts, carry, resets
    assert blocks_of(
        [
            recurrence("forward_sequential", "Gru<1>", "float"),
            recurrence("forward_newton", "Gru<1>", "float"),
            kernel("scan_tiles", "paratime::Linear<4, double> "),
        ]
    ) == [Block(64, 0), Block(256, newton), Block(64, 52240)]


@pytest.mark.skipif(targets.compiler() is None, reason="no C++ compiler")
def test_a_kernel_that_is_not_known_has_no_block():
    with pytest.raises(CannotBuild, match=r"^add to BLOCKS how these are launched: other$"):
        blocks_of([kernel("other", "float")])
    with pytest.raises(CannotBuild, match=r" failed: .*blocks.cpp.* error: "):
        blocks_of([kernel("forward_newton", "paratime::Gru<0, 0>, float")])


@pytest.mark.skipif(targets.compiler() is None, reason="no C++ compiler")
def test_symbols_that_a_library_exports(tmp_path):
    source = tmp_path / "a.cpp"
    source.write_text('extern "C" int paratime_error() { return 0; }\nstatic int hidden;\n')
    library = tmp_path / "a.so"
    subprocess.run(
        [*targets.compiler(), "-shared", "-fPIC", "-s", source, "-o", library], check=True
    )
    assert "paratime_error" in exported(library) and "hidden" not in exported(library)
    with pytest.raises(CannotBuild, match=r"^nm failed: "):
        exported(source)


@pytest.mark.parametrize(("violations", "status"), [([], None), (["calls: 1, at most 0"], 1)])
def test_the_command_fails_if_anything_is_wrong(monkeypatch, capsys, tmp_path, violations, status):
    monkeypatch.setattr(static, "judge_all", lambda _: ([{"arch": "sm_90"}], violations))
    monkeypatch.setattr(static, "HERE", tmp_path)
    found = None
    try:
        static.main([])
    except SystemExit as stop:
        found = stop.code
    assert found == status
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"1 kernels, {len(violations)} violations"
    assert said[-1 - len(violations) : -1] == violations
    assert (tmp_path / "static.csv").read_text() == "arch\nsm_90\n"


def test_a_part_of_the_architectures_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(static, "judge_all", lambda _: ([{"arch": "sm_90"}], []))
    monkeypatch.setattr(static, "HERE", tmp_path)
    static.main(["--arch", "sm_90"])
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_command_says_so(monkeypatch):
    monkeypatch.setattr(static.build, "find_library", lambda _: None)
    monkeypatch.setattr(targets, "nvcc", lambda: None)
    with pytest.raises(SystemExit, match=r"^no nvcc on PATH; install the CUDA toolkit"):
        static.main(["--arch", "sm_90"])


@pytest.mark.skipif(targets.nvcc() is None, reason="no CUDA compiler")
@pytest.mark.parametrize("arch", static.ARCHITECTURES)
def test_violations_in_kernels_compiled_now(arch, tmp_path):
    command = [*targets.nvcc(), "-cubin", f"-arch={arch}", "-std=c++17", "-O3"]
    source, made = SAMPLES / "kernels.cu", tmp_path / "kernels.cubin"
    subprocess.run([*command, source, "-o", made], check=True)
    found = {x.name: x for x in kernels(disassemble(made, arch))}
    steps = {"good": Step(2, 1, 8), "double_precision": Step(0, 1, 16)}
    limit = Limit((255, 255, 255), 100, 1)
    violations = {
        (name, line.partition(":")[0])
        for name, x in found.items()
        for line in judge(Compiled(arch, x, Block(256, 0), steps.get(name, Step(0, 1)), limit))
    }
    without_a_step = {(name, "loads a step") for name in found.keys() - steps.keys()}
    assert violations - without_a_step == {
        ("spills", "spills"),
        ("double_constant", "double precision"),
        ("divides", "calls"),
    }
