"""What the kernels may take of registers, instructions and multiprocessors, as it was measured."""

from dataclasses import dataclass

from loops import NO_STAGING, Staging


@dataclass(frozen=True)
class Limit:
    """What a kernel may take.

    Attributes:
        registers: Most registers a thread, on each of ``ARCHITECTURES``.
        instructions: Most instructions a step of the main loop.
        warps: Fewest warps that are resident on a multiprocessor of any architecture.
        staging: Most instructions with which a tile is brought to shared memory.
        ahead: Fewest loads under way at once as a tile of a scan looks back.
    """

    registers: tuple[int, ...]
    instructions: float
    warps: int
    staging: Staging = NO_STAGING
    ahead: int = 0


LIMITS: dict[str, tuple[Limit, ...]] = {
    "forward_newton Gru<1>": (Limit((64, 64, 64), 53, 24), Limit((80, 80, 104), 201, 8)),
    "forward_newton Gru<2>": (Limit((64, 64, 64), 139, 16), Limit((128, 136, 168), 421, 8)),
    "forward_newton Gru<4>": (Limit((176, 192, 224), 446, 8),),
    "forward_newton Lstm<1>": (Limit((64, 64, 64), 88, 16), Limit((112, 112, 136), 311, 8)),
    "forward_newton Lstm<2>": (Limit((144, 160, 168), 254, 8), Limit((224, 224, 240), 812, 8)),
    "scan_tiles Gru<1>": (Limit((64, 64, 64), 109, 24), Limit((88, 96, 96), 222, 12)),
    "scan_tiles Gru<2>": (Limit((80, 80, 80), 222, 24), Limit((136, 160, 160), 414, 12)),
    "scan_tiles Gru<4>": (Limit((168, 168, 168), 487, 8),),
    "scan_tiles Lstm<1>": (Limit((80, 80, 80), 124, 16), Limit((112, 120, 120), 281, 8)),
    "scan_tiles Lstm<2>": (Limit((136, 152, 152), 296, 8), Limit((200, 200, 216), 591, 8)),
    "scan_tiles Linear<1>": (Limit((56, 64, 64), 8.0, 32), Limit((88, 88, 80), 9.0, 16)),
    "scan_tiles Linear<2>": (Limit((64, 72, 80), 22, 16), Limit((96, 104, 112), 22, 8)),
    "scan_tiles Linear<4>": (Limit((104, 120, 120), 124, 12), Limit((160, 160, 176), 137, 6)),
    "forward_sequential Gru<1>": (Limit((64, 64, 104), 68, 16), Limit((96, 112, 128), 178, 16)),
    "forward_sequential Gru<2>": (Limit((72, 72, 128), 127, 16), Limit((112, 120, 144), 354, 12)),
    "forward_sequential Gru<4>": (Limit((96, 96, 160), 245, 12), Limit((136, 192, 224), 863, 8)),
    "forward_sequential Lstm<1>": (Limit((88, 88, 128), 81, 16), Limit((104, 128, 152), 228, 12)),
    "forward_sequential Lstm<2>": (Limit((80, 96, 144), 169, 12), Limit((152, 152, 184), 440, 8)),
    "backward_sequential Gru<1>": (Limit((120, 120, 184), 125, 8), Limit((128, 152, 192), 218, 8)),
    "backward_sequential Gru<2>": (Limit((128, 128, 192), 249, 8), Limit((184, 192, 216), 444, 8)),
    "backward_sequential Gru<4>": (Limit((192, 200, 255), 533, 8), Limit((255, 248, 255), 1301, 8)),
    "backward_sequential Lstm<1>": (Limit((128, 136, 192), 151, 8), Limit((144, 168, 208), 288, 8)),
    "backward_sequential Lstm<2>": (Limit((144, 152, 216), 300, 8), Limit((216, 232, 248), 631, 8)),
}
"""By kernel and cell, for formats of up to 32 bits and for float64.

Registers are those found, rounded up to the 8 by which they are allocated; instructions are those
found and 3 per cent; warps are those found.
"""

STAGED: dict[str, tuple[Staging, int]] = {
    "forward_newton Gru<1>": (Staging(9.3, 9.3, 6.5), 0),
    "forward_newton Gru<2>": (Staging(6.0, 6.9, 4.8), 0),
    "forward_newton Gru<4>": (Staging(4.5, 5.4, 3.9), 0),
    "forward_newton Lstm<1>": (Staging(9.3, 9.3, 6.5), 0),
    "forward_newton Lstm<2>": (Staging(6.0, 6.5, 4.6), 0),
    "scan_tiles Gru<1>": (Staging(13.6, 12.8), 16),
    "scan_tiles Gru<2>": (Staging(8.3, 8.4), 8),
    "scan_tiles Gru<4>": (Staging(5.9, 6.4), 40),
    "scan_tiles Lstm<1>": (Staging(14.7, 13.7), 10),
    "scan_tiles Lstm<2>": (Staging(9.0, 9.0), 40),
    "scan_tiles Linear<1>": (Staging(21.6, 19.6), 16),
    "scan_tiles Linear<2>": (Staging(9.3, 9.3), 12),
    "scan_tiles Linear<4>": (Staging(4.9, 5.7), 40),
}
"""By kernel and cell: most instructions of staging, and fewest loads under way.

Instructions are those found and 3 per cent; loads are those found.
"""
