"""The reader of machine code, on what cuobjdump says of ``samples/kernels.cu``."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from instruction import Instruction
from loops import Loop, Staging, find_loops
from sass import Kernel, kernels

from paratime.ops.native.build import CannotBuild

SAMPLES = Path(__file__).parent / "samples"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@cache
def sample(arch: str) -> dict[str, Kernel]:
    text = (SAMPLES / f"{arch}.sass").read_text(encoding="utf-8")
    return {kernel.name: kernel for kernel in kernels(text)}


def program(*lines: str) -> list[Instruction]:
    """Return instructions, one after another; ``@`` is a guard, and a number a line."""
    code = []
    for i, line in enumerate(lines):
        opcode, _, operand = line.lstrip("@").partition(" ")
        operands = operand and f"0x{16 * int(operand):x}"
        code.append(Instruction(16 * i, line.startswith("@"), opcode, operands))
    return code


def made(code: list[Instruction]) -> Kernel:
    return Kernel("kernel", 32, 0, 0, 0, tuple(code))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_names_tell_what_a_kernel_computes(arch):
    found = sample(arch)
    assert {(x.name, x.cell, x.drive) for x in found.values()} == {
        ("good", "Gru<1>", "float"),
        ("double_precision", "Gru<1>", "double"),
        ("double_constant", "Gru<1>", "Half"),
        ("spills", "Gru<1>", "float"),
        ("exchanges", "Gru<1>", "float"),
        ("copies", "Gru<1>", "float"),
        ("divides", "Gru<1>", "float"),
    }
    assert found["double_constant"].arguments == "paratime::Gru<1>, float, paratime::Half"
    assert found["good"].full_name.endswith("paratime::good<paratime::Gru<1>, float, float>")


@pytest.mark.parametrize(("arch", "registers"), [("sm_80", 22), ("sm_90", 26), ("sm_100", 32)])
def test_resources(arch, registers):
    found = sample(arch)
    assert found["good"].registers == registers
    assert {name for name, x in found.items() if x.stack} == {"spills"}
    assert {name for name, x in found.items() if x.count("LDL", "STL")} == {"spills"}
    assert found["spills"].count("LDL") > found["spills"].count("STL") > 10


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_shared_memory_is_without_what_is_reserved(arch):
    assert {name: x.shared for name, x in sample(arch).items() if x.shared} == {"copies": 512}


@pytest.mark.parametrize(("arch", "instructions"), [("sm_80", 38), ("sm_90", 37), ("sm_100", 39)])
def test_the_main_loop_is_the_unrolled_one(arch, instructions):
    loop, steps = sample(arch)["good"].main_loop(mufu=2, loads=1)
    assert steps == 4
    assert loop == Loop(True, instructions, mufu=8, arithmetic=8, global_loads=4, bytes=32, ahead=1)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_loop_that_does_no_whole_step_is_not_the_main_loop(arch):
    good = sample(arch)["good"]
    assert len(good.loops) == 2
    assert good.main_loop(mufu=9, loads=1) == good.main_loop(mufu=2, loads=5) == (Loop(), 1)


def test_the_main_loop_has_the_most_arithmetic_a_step():
    """Not the most arithmetic, nor the most steps."""
    small = ("MUFU", "LDS", "FADD")
    code = program(*3 * small, "@BRA 0", *small, "FADD", "@BRA 10", "EXIT")
    assert [x.arithmetic for x in find_loops(code)] == [3, 2]
    assert made(code).main_loop(mufu=1, loads=1) == (find_loops(code)[1], 1)


def test_among_loops_of_the_same_arithmetic_the_main_one_does_most_steps():
    step = ("MUFU", "LDS", "FADD")
    code = program(*step, "NOP", "IADD3", "@BRA 0", *step, *step, "@BRA 6", "EXIT")
    assert made(code).main_loop(mufu=1, loads=1) == (find_loops(code)[1], 2)


def test_without_mufu_steps_are_counted_by_their_loads():
    code = program("LDS", "LDS", "FADD", "LDS", "LDS", "FADD", "@BRA 0", "EXIT")
    assert made(code).main_loop(mufu=0, loads=2) == (find_loops(code)[0], 2)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_outer_loop_is_counted_without_the_inner_one(arch):
    inner, outer = sorted(sample(arch)["exchanges"].loops, key=lambda x: not x.innermost)
    assert (inner.innermost, outer.innermost) == (True, False)
    assert (inner.arithmetic, outer.arithmetic) == (1, 1)
    assert outer.steps(mufu=0, loads=0) == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_slow_paths_are_calls(arch):
    assert {name: x.calls for name, x in sample(arch).items() if x.calls} == {"divides": 1}


def test_meeting_for_a_shuffle_is_no_call():
    assert sample("sm_80")["exchanges"].count("CALL") == 2


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_double_precision(arch):
    found = {name: x for name, x in sample(arch).items() if x.doubles}
    assert found.keys() == {"double_precision", "double_constant"}
    assert found["double_precision"].doubles == ("DFMA",)
    assert found["double_precision"].may_use_doubles
    assert found["double_constant"].doubles == ("DADD", "F2F.F32.F64", "F2F.F64.F32")
    assert not found["double_constant"].may_use_doubles


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_widths_of_loads_and_stores(arch):
    found = sample(arch)
    assert found["copies"].loads == Counter({128: 1})
    assert found["copies"].copies == 1 and found["good"].copies == 0
    assert found["double_precision"].loads == found["double_precision"].stores == Counter({64: 1})
    assert found["good"].loads == found["good"].stores == Counter({32: 5})


def test_a_wide_load_is_no_copy():
    assert made(program("LDG.E.128", "LDGSTS.E", "LDGSTS.E.BYPASS.128", "EXIT")).copies == 1


@pytest.mark.parametrize(
    ("opcode", "bits"),
    [
        ("LDG.E", 32),
        ("LDG.E.U8.CONSTANT", 8),
        ("LDG.E.U16", 16),
        ("LDG.E.64.STRONG.GPU", 64),
        ("LDGSTS.E.BYPASS.128", 128),
        ("STG.E.ENL2.256", 256),
    ],
)
def test_bits_of_an_access(opcode, bits):
    instruction = Instruction(0, False, opcode, "")
    assert instruction.bits == bits
    assert instruction.is_load != instruction.is_store


@pytest.mark.parametrize(
    ("opcode", "is_double", "is_arithmetic"),
    [
        ("DFMA.RM", True, True),
        ("DSETP.GT.AND", True, False),
        ("MUFU.RCP64H", True, False),
        ("F2F.F64.F32", True, False),
        ("FFMA2", False, True),
        ("FADD.FTZ", False, True),
        ("DEPBAR.LE", False, False),
        ("HFMA2.MMA", False, False),
        ("IMAD.WIDE", False, False),
    ],
)
def test_kinds_of_instructions(opcode, is_double, is_arithmetic):
    instruction = Instruction(0, False, opcode, "")
    assert (instruction.is_double, instruction.is_arithmetic) == (is_double, is_arithmetic)


def test_staging_is_counted_by_what_it_moves():
    """Copies and numbers go to shared memory, lines to L2; flags of a byte are not counted."""
    copies = program(*2 * ("IADD3", "LDGSTS.E.BYPASS.128"), "@BRA 0", "EXIT")
    numbers = program("IADD3", "IADD3", "LDG.E.U16", "STS.U16", "@BRA 0", "EXIT")
    lines = program("IADD3", "CCTL.E.PF2", "CCTL.E.PF2", "@BRA 0", "EXIT")
    flags = program("LDG.E.U8", "STS.U8", "@BRA 0", "EXIT")
    found = [made(code).staging for code in (copies, numbers, lines, flags)]
    assert found == [Staging(copy=2.5), Staging(number=5), Staging(line=2), Staging()]


def test_staging_is_a_mean_over_all_loops():
    code = program("LDGSTS.E.128", "@BRA 0", *3 * ("LDGSTS.E.128",), "IADD3", "@BRA 2", "EXIT")
    assert made(code).staging == Staging(copy=7 / 4)


def test_loads_that_come_before_all_arithmetic_are_under_way_at_once():
    """Of two loops that look back, the one with fewer loads under way counts."""
    first = ("LDG.E", "LDG.E", "LDG.E", "FFMA", "FFMA", "@BRA 0")
    then = ("LDG.E", "FFMA", "LDG.E", "LDG.E", "FFMA", "@BRA 6", "EXIT")
    found = made(program(*first, *then))
    assert [x.ahead for x in found.loops] == [3, 1]
    assert found.look_back == found.loops[1] and found.look_back.global_loads == 3
    others = program("LDG.E", "FFMA", "LDS", "@BRA 0", "LDG.E", "@BRA 4", "EXIT")
    assert made(others).look_back == Loop()


def test_a_guarded_call_over_an_instruction_is_a_jump():
    """It leaves the first loop of two; the second would be out of reach otherwise."""
    code = program("FADD", "@CALL.REL.NOINC 3", "BRA 0", "FMUL", "@BRA 3", "EXIT")
    assert [x.arithmetic for x in find_loops(code)] == [1, 1]
    assert [x.instructions for x in find_loops(code)] == [3, 2]
    assert made(code).calls == 0


def test_a_call_returns():
    code = program("FADD", "CALL.REL.NOINC 4", "@BRA 0", "EXIT", "FMUL", "RET.REL.NODEC")
    assert find_loops(code) == [Loop(True, instructions=3, arithmetic=1)]


def test_a_return_from_behind_the_end_is_no_loop():
    code = program("FADD", "@BRA 4", "FMUL", "EXIT", "FADD", "BRA 2")
    assert find_loops(code) == []


def test_a_rare_path_behind_the_end_is_not_counted():
    code = program("FADD", "@BRA 5", "FMUL", "@BRA 0", "EXIT", "FADD", "FADD", "BRA 2")
    assert find_loops(code) == [Loop(True, instructions=4, arithmetic=2)]


def test_two_branches_back_to_one_head_are_one_loop():
    code = program("FADD", "@BRA 0", "FMUL", "@BRA 0", "EXIT")
    assert find_loops(code) == [Loop(True, instructions=4, arithmetic=2)]


def test_what_nothing_leads_to_is_no_loop():
    assert find_loops(program("EXIT", "NOP", "BRA 1")) == []


def test_a_kernel_without_code_is_an_error():
    text = " Function _ZN8paratime4goodEv:\n  REG:22 STACK:0 SHARED:0 LOCAL:0\n"
    with pytest.raises(CannotBuild, match=r"^cuobjdump shows no code of paratime::good\(\); is "):
        kernels(text)
