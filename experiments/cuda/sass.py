"""Read compiled kernels: what cuobjdump says of their resources and instructions.

The text is that of ``cuobjdump -res-usage -sass``. Instructions differ from one architecture to the
next; what is read here, opcodes, guards and the addresses that branches name, does not.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from operator import attrgetter

from binary import demangle
from instruction import Instruction
from loops import Loop, Staging, find_loops

from paratime.ops.native.build import CannotBuild

RESERVED = 1024  # of shared memory, which cuobjdump adds from sm_90 on where any is used
FUNCTION = re.compile(r"^\s*Function\s*:?\s*(\w+):?\s*$")
USAGE = re.compile(r"(REG|STACK|SHARED|LOCAL):(\d+)")
TARGET = re.compile(r"code for sm_(\d+)")
INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(@\S+\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;")


@dataclass(frozen=True)
class Kernel:
    """A kernel and what it takes; sizes in bytes, shared memory without what is reserved."""

    symbol: str
    registers: int
    stack: int
    local: int
    shared: int
    code: tuple[Instruction, ...]

    @cached_property
    def full_name(self) -> str:
        """The name in C++, with its template arguments, without those of the function."""
        return _without_parameters(demangle(self.symbol))

    @property
    def name(self) -> str:
        """The name alone, such as ``forward_newton``."""
        return self.full_name.partition("<")[0].rpartition("::")[2].rpartition(" ")[2]

    @property
    def cell(self) -> str:
        """What it computes, such as ``Gru<1>``; empty if the name does not say."""
        found = re.search(r"(\w+<\d+)\b", self.arguments)
        return f"{found[1]}>" if found else ""

    @property
    def drive(self) -> str:
        """The last number format among the template arguments; empty if there is none."""
        return (["", *re.findall(r"\b(float|double|BFloat16|Half)\b", self.arguments)])[-1]

    @property
    def may_use_doubles(self) -> bool:
        """Whether a template argument is double."""
        return re.search(r"\bdouble\b", self.arguments) is not None

    @property
    def arguments(self) -> str:
        """The template arguments in C++."""
        return self.full_name.partition("<")[2].removesuffix(">").strip()

    def count(self, *bases: str) -> int:
        """Return how many instructions have one of these opcodes."""
        return sum(x.base in bases for x in self.code)

    @property
    def calls(self) -> int:
        """Calls of functions that compute, which are slow paths or functions of a library.

        On sm_80 threads of a warp that has diverged call a function to meet for a shuffle.
        """
        index = {x.address: i for i, x in enumerate(self.code)}
        called = [index.get(x.target) for x in self.code if x.base == "CALL" and not x.is_branch]
        return sum(i is None or not self._meets(i) for i in called)

    def _meets(self, i: int) -> bool:
        body = takewhile(lambda x: x.base != "RET", self.code[i:])
        return any(x.base == "WARPSYNC" for x in body)

    @property
    def doubles(self) -> tuple[str, ...]:
        """The opcodes of its double-precision instructions."""
        return tuple(sorted({x.opcode for x in self.code if x.is_double}))

    @property
    def loads(self) -> Counter[int]:
        """Loads from global memory by bits a thread."""
        return Counter(x.bits for x in self.code if x.is_load)

    @property
    def stores(self) -> Counter[int]:
        """Stores to global memory, by bits a thread."""
        return Counter(x.bits for x in self.code if x.is_store)

    @property
    def copies(self) -> int:
        """Copies of 16 bytes a thread from global to shared memory."""
        return sum(x.is_copy for x in self.code)

    @cached_property
    def loops(self) -> list[Loop]:
        """All its loops."""
        return find_loops(self.code)

    @property
    def staging(self) -> Staging:
        """What the loops take that fill shared memory, by what they move."""
        moves = (attrgetter(x) for x in ("copies", "staged_numbers", "prefetches"))
        return Staging(*(self._instructions_of_each(of) for of in moves))

    def _instructions_of_each(self, of: Callable[[Loop], int]) -> float:
        found = [x for x in self.loops if x.innermost and of(x)]
        return sum(x.instructions for x in found) / sum(map(of, found)) if found else 0.0

    @property
    def look_back(self) -> Loop:
        """The loop in which a tile of a scan looks back; the one with fewest loads under way."""
        found = (x for x in self.loops if x.looks_back)
        return min(found, key=lambda x: x.ahead, default=Loop())

    def main_loop(self, mufu: int, loads: int) -> tuple[Loop, int]:
        """Return the loop whose steps have most arithmetic, and the steps of one turn.

        Of those alike, it is the one that does most steps a turn, then that of the shortest steps:
        the loop over a block's warps composes maps as the main loop does, and checks them too.

        Args:
            mufu: MUFU that a step must have.
            loads: Loads that a step must have.
        """
        found = [(x, steps) for x in self.loops if (steps := x.steps(mufu, loads))]
        return max(
            found,
            key=lambda of: (of[0].arithmetic / of[1], of[1], -of[0].instructions),
            default=(Loop(), 1),
        )


def kernels(text: str) -> list[Kernel]:
    """Return the kernels that cuobjdump speaks of.

    Raises:
        CannotBuild: It speaks of a kernel and shows no code.
    """
    usage: dict[str, dict[str, int]] = {}
    code: dict[str, list[Instruction]] = {}
    symbol, reserved = "", 0
    for line in text.splitlines():
        if found := FUNCTION.match(line):
            symbol = found[1]
        elif "REG:" in line:
            usage[symbol] = {key: int(value) for key, value in USAGE.findall(line)}
        elif found := TARGET.search(line):
            reserved = RESERVED if int(found[1]) >= 90 else 0
        elif found := INSTRUCTION.match(line):
            code.setdefault(symbol, []).append(
                Instruction(int(found[1], 16), found[2] is not None, found[3], found[4])
            )
    if bare := sorted(usage.keys() - code.keys()):
        raise CannotBuild(f"cuobjdump shows no code of {demangle(bare[0])}; is nvdisasm as new?")
    return [
        Kernel(
            symbol=symbol,
            registers=has["REG"],
            stack=has["STACK"],
            local=has["LOCAL"],
            shared=max(0, has["SHARED"] - reserved),
            code=tuple(code[symbol]),
        )
        for symbol, has in usage.items()
    ]


def _without_parameters(name: str) -> str:
    depth = 0
    for i, character in enumerate(name):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and not depth:
            return name[:i]
    return name
