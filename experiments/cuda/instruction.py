"""Single instructions of compiled kernels, by what their opcodes and operands say."""

import re
from dataclasses import dataclass

SIZE = 16
"""Bytes of an instruction."""

DOUBLE = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX|MMA)\b|.*\.F64\b|.*64H\b")
ARITHMETIC = re.compile(r"[FD](ADD|MUL|FMA)(2|32I)?$")
GLOBAL_LOADS, GLOBAL_STORES = ("LDG", "LDGSTS", "LD"), ("STG", "ST")
WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128, "256": 256}


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``guarded`` if a predicate decides whether it is executed."""

    address: int
    guarded: bool
    opcode: str
    operands: str

    @property
    def base(self) -> str:
        """The opcode without modifiers."""
        return self.opcode.split(".")[0]

    @property
    def is_arithmetic(self) -> bool:
        """Whether it adds, multiplies or does both, in float32 or float64."""
        return ARITHMETIC.match(self.base) is not None

    @property
    def is_double(self) -> bool:
        """Whether it computes with, or converts from or to, double precision."""
        return DOUBLE.match(self.opcode) is not None

    @property
    def target(self) -> int | None:
        """The address that a branch or call names."""
        found = re.search(r"\b0x([0-9a-f]+)$", self.operands)
        return int(found[1], 16) if found else None

    @property
    def is_branch(self) -> bool:
        """Whether it is a branch: on sm_80 also a call over the instruction behind it."""
        over = self.base == "CALL" and self.guarded and self.target == self.address + 2 * SIZE
        return over or self.base in ("BRA", "JMP")

    @property
    def bits(self) -> int:
        """How many bits a thread loads or stores."""
        return next((WIDTHS[x] for x in self.opcode.split(".") if x in WIDTHS), 32)

    @property
    def is_load(self) -> bool:
        """Whether it loads from global memory, to shared memory as well."""
        return self.base in GLOBAL_LOADS

    @property
    def is_copy(self) -> bool:
        """Whether it copies 16 bytes from global to shared memory."""
        return self.base == "LDGSTS" and self.bits == 128

    @property
    def is_store(self) -> bool:
        """Whether it stores to global memory."""
        return self.base in GLOBAL_STORES
