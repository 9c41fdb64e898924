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
    """

    innermost: bool = True
    instructions: int = 0
    mufu: int = 0
    arithmetic: int = 0
    shared_loads: int = 0
    global_loads: int = 0
    bytes: float = 0

    @property
    def loads(self) -> int:
        """Loads from shared and global memory."""
        return self.shared_loads + self.global_loads

    def steps(self, mufu: int, loads: int) -> int:
        """Return how many steps a turn does, by what each has to have; 0 if it does none."""
        if not self.innermost or self.mufu < mufu or self.loads < loads:
            return 0
        return self.mufu // mufu if mufu else self.loads // loads


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
    code = [kernel[i] for i in bodies[head].difference(*inner)]
    return Loop(
        innermost=not inner,
        instructions=sum(x.base != "NOP" for x in code),
        mufu=sum(x.base == "MUFU" for x in code),
        arithmetic=sum(x.is_arithmetic for x in code),
        shared_loads=sum(x.base in ("LDS", "LDSM") for x in code),
        global_loads=sum(x.is_load for x in code),
        bytes=sum(x.bits for x in code if x.is_load or x.is_store) / 8,
    )


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
