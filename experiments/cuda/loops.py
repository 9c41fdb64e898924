"""The loops of compiled kernels, and what one turn of them takes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from instruction import Instruction


@dataclass(frozen=True)
class Loop:
    """A loop, without the loops inside it and the rare paths that lie behind the kernel's end.

    Attributes:
        innermost: Whether there is no loop inside it.
        instructions: How many a turn has.
        mufu: Those of the unit for transcendental functions.
        arithmetic: Additions, multiplications and fused ones, in float32 and float64.
        shared_loads: Loads from shared memory.
        global_loads: Loads from global memory.
        bytes: What a thread loads from and stores to global memory.
        ahead: Those of the loads from global memory that come before all arithmetic, and so are
            under way at once; 0 without arithmetic.
        shared_stores: Stores to shared memory.
        copies: Copies of 16 bytes from global to shared memory.
        prefetches: Lines of memory that L2 is asked for.
    """

    innermost: bool = True
    instructions: int = 0
    mufu: int = 0
    arithmetic: int = 0
    shared_loads: int = 0
    global_loads: int = 0
    bytes: float = 0
    ahead: int = 0
    shared_stores: int = 0
    copies: int = 0
    prefetches: int = 0

    @property
    def loads(self) -> int:
        """Loads from shared and global memory."""
        return self.shared_loads + self.global_loads

    def steps(self, mufu: int, loads: int) -> int:
        """Return how many steps a turn does, by what each has to have; 0 if it does none."""
        if not self.innermost or self.mufu < mufu or self.loads < loads:
            return 0
        return self.mufu // mufu if mufu else self.loads // loads

    @property
    def staged_numbers(self) -> int:
        """Numbers that it moves from global to shared memory, where it does nothing else."""
        alone = self.innermost and not (self.copies or self.arithmetic or self.shared_loads)
        whole = self.bytes > self.global_loads == self.shared_stores  # flags have a byte
        return self.global_loads if alone and whole else 0

    @property
    def looks_back(self) -> bool:
        """Whether it computes with what it loads from global memory, and does nothing else."""
        others = self.mufu or self.shared_loads or self.shared_stores
        return self.innermost and bool(self.arithmetic and self.global_loads) and not others


@dataclass(frozen=True)
class Staging:
    """Instructions with which a thread moves something to where it is near.

    Attributes:
        copy: Those of 16 bytes that go to shared memory.
        number: Those of a number that goes there.
        line: Those of a line of memory that L2 is asked for.
    """

    copy: float = 0
    number: float = 0
    line: float = 0


NO_STAGING = Staging()


def find_loops(code: Sequence[Instruction]) -> list[Loop]:
    """Return all loops of a kernel.

    A branch back closes a loop if every path to it leads through its target; others return from
    code that the compiler has moved behind the end (Aho, Lam, Sethi, Ullman, Compilers, 9.6).
    """
    after = _successors(code)
    before: list[list[int]] = [[] for _ in code]
    for i, targets in enumerate(after):
        for target in targets:
            before[target].append(i)
    bodies: dict[int, set[int]] = {}
    reachable = _reached(0, after.__getitem__)
    for i in sorted(reachable):
        for head in after[i]:
            if head <= i and (head == 0 or i not in _reached(0, after.__getitem__, but=head)):
                inside = _reached(i, before.__getitem__, but=head) | {head}
                bodies.setdefault(head, set()).update(inside & set(range(head, i + 1)))
    return [_loop(code, head, bodies) for head in bodies]


def _loop(kernel: Sequence[Instruction], head: int, bodies: dict[int, set[int]]) -> Loop:
    inner = [body for other, body in bodies.items() if other != head and other in bodies[head]]
    code = [kernel[i] for i in sorted(bodies[head].difference(*inner))]
    return Loop(
        innermost=not inner,
        instructions=sum(x.base != "NOP" for x in code),
        mufu=sum(x.base == "MUFU" for x in code),
        arithmetic=sum(x.is_arithmetic for x in code),
        shared_loads=sum(x.base in ("LDS", "LDSM") for x in code),
        global_loads=sum(x.is_load for x in code),
        bytes=sum(x.bits for x in code if x.is_load or x.is_store) / 8,
        ahead=_ahead(code),
        shared_stores=sum(x.base == "STS" for x in code),
        copies=sum(x.is_copy for x in code),
        prefetches=sum(x.opcode.startswith("CCTL.E.PF") for x in code),
    )


def _ahead(code: Sequence[Instruction]) -> int:
    first = next((i for i, x in enumerate(code) if x.is_arithmetic), 0)
    return sum(x.is_load for x in code[:first])


def _successors(code: Sequence[Instruction]) -> list[list[int]]:
    """Return for every instruction those that may come next; calls are taken to return."""
    index = {x.address: i for i, x in enumerate(code)}
    return [[j for j in _next(x, i, index) if j < len(code)] for i, x in enumerate(code)]


def _next(x: Instruction, i: int, index: dict[int, int]) -> Iterator[int]:
    if x.is_branch and x.target in index:
        yield index[x.target]
    always = not x.guarded and not (x.is_branch and "," in x.operands)  # else a predicate decides
    if not (always and x.base in ("BRA", "JMP", "BRX", "JMX", "EXIT", "RET")):
        yield i + 1


def _reached(start: int, ways: Callable[[int], list[int]], but: int | None = None) -> set[int]:
    """Return what can be reached from an instruction, itself included, without one other."""
    found, open_ = {start}, [start]
    while open_:
        for i in ways(open_.pop()):
            if i not in found and i != but:
                found.add(i)
                open_.append(i)
    return found
