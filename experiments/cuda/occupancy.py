"""How many warps a multiprocessor holds at once, as the registers and shared memory allow.

The limits are those of the CUDA C++ Programming Guide, table "Technical Specifications per Compute
Capability". What is allocated in which units, and the computation, are those of the toolkit's
header ``cuda_occupancy.h``, which the driver's own answer comes from. Shared memory is taken to get
its largest share of the L1 cache, as it does unless a program asks for another.
"""

from dataclasses import dataclass

WARP = 32
KIB = 1024


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor has to give.

    Attributes:
        shared: Bytes of shared memory, over all blocks.
        shared_of_block: Bytes that one block can have, after opting in.
        warps: Most resident warps.
        blocks: Most resident blocks.
        threads_of_block: Most threads a block.
        registers: 32-bit registers, over all blocks, and most of one block.
        registers_of_thread: Most registers a thread.
        partitions: Parts, with a scheduler and a share of registers each; a block's warps are dealt
            out to them in turn.
        register_unit: Registers that a warp gets at a time.
        shared_unit: Bytes that a block gets at a time.
        reserved: Bytes of shared memory that the driver takes for each block.
    """

    shared: int
    shared_of_block: int
    warps: int = 64
    blocks: int = 32
    threads_of_block: int = 1024
    registers: int = 64 * KIB
    registers_of_thread: int = 255
    partitions: int = 4
    register_unit: int = 256
    shared_unit: int = 128
    reserved: int = KIB


MULTIPROCESSORS = {
    "sm_80": Multiprocessor(shared=164 * KIB, shared_of_block=163 * KIB),
    "sm_90": Multiprocessor(shared=228 * KIB, shared_of_block=227 * KIB),
    "sm_100": Multiprocessor(shared=228 * KIB, shared_of_block=227 * KIB),
}


def resident_warps(arch: str, registers: int, threads: int, shared: int = 0) -> int:
    """Return the warps of a kernel that are resident on a multiprocessor; 0 if it cannot run.

    Args:
        arch: Such as ``sm_90``.
        registers: Registers a thread.
        threads: Threads a block.
        shared: Bytes of shared memory a block, static and dynamic, without what is reserved.

    Raises:
        ValueError: The architecture is not in ``MULTIPROCESSORS``.
    """
    has = MULTIPROCESSORS.get(arch)
    if has is None:
        known = ", ".join(MULTIPROCESSORS)
        raise ValueError(f"no limits are known of {arch}, only of {known}; add it to occupancy.py")
    if not 0 < threads <= has.threads_of_block or registers > has.registers_of_thread:
        return 0
    if shared > has.shared_of_block:
        return 0
    warps = -(-threads // WARP)
    of_warp = _round_up(max(1, registers) * WARP, has.register_unit)
    by_registers = has.registers // has.partitions // of_warp * has.partitions // warps
    by_shared = has.shared // _round_up(shared + has.reserved, has.shared_unit)
    return warps * min(has.blocks, has.warps // warps, by_registers, by_shared)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
