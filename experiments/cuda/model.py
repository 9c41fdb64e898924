"""How long the kernels take at least on a machine.

Four things limit a kernel, and the slowest of them is its time, as if they overlapped perfectly:

- memory: its bytes, over the bandwidth of the device's memory;
- cache: what L2 hands out, in whole sectors, over the bandwidth of L2;
- issue: what the busiest scheduler issues, one instruction of a warp a clock, where those of a
  narrow unit (MUFU, float64) keep it busy for as long as a warp takes to pass through;
- latency: the longest chain of operations that wait for each other, in all rounds in which blocks
  follow one another on a multiprocessor.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kernels import Cell, Code, Codes, Format, latencies
from machines import SCHEDULERS, WARP, Machine
from occupancy import resident_warps

from paratime.ops.native.device import LANES, THREADS, lanes_of

SEQUENTIAL_THREADS = 64
SCAN_SHARED = 80 * 1024
COPY = 16
"""Bytes that a thread copies at once."""

GROUP = 32
"""Tiles from one state to the next that the look-back publishes."""


@dataclass(frozen=True)
class Problem:
    """A kernel's work: B sequences of T steps on C channels, on a machine."""

    batch: int
    steps: int
    channels: int
    cell: Cell
    format: Format
    machine: Machine
    codes: Codes = field(repr=False)

    def code(self, kernel: str) -> Code:
        """Return the machine code of a kernel."""
        return self.codes.of(kernel, self.machine, self.cell, self.format)

    def staging(self, kernel: str, lanes: int) -> float:
        """Return the instructions with which a warp brings a step to shared memory.

        As ``Staged::fill`` does, 16 bytes at a time where the lanes and channels allow it.
        """
        each, count = self.code(kernel).staging, 0.0
        for rows, size in self.cell.staged(kernel, self.format):
            wide = COPY // size
            whole = lanes >= wide and self.channels % wide == 0
            count += rows * (each.copy / wide if whole else each.number)
        return count + self.cell.drives * each.line / lanes

    def clocks(self, kernel: str) -> float:
        """Return the clocks that a warp's step keeps a scheduler busy."""
        return self.code(kernel).clocks(self.machine, self.format)

    @property
    def step_latency(self) -> int:
        """Clocks from one state to the next."""
        return self.cell.step_latency(self.machine, self.format)

    @property
    def elements(self) -> int:
        """Steps of all channels."""
        return self.batch * self.steps * self.channels

    @property
    def forward_bytes(self) -> int:
        """Bytes of a step of a channel in the forward pass of training."""
        return (self.cell.drives + self.cell.k) * self.format.size + (
            self.cell.memory * self.format.state
        )

    @property
    def backward_bytes(self) -> int:
        """Bytes of a step of a channel in the backward pass: u, du, y, g and the memory."""
        return 2 * (self.cell.drives + self.cell.k) * self.format.size + (
            self.cell.memory * self.format.state
        )


@dataclass(frozen=True)
class Prediction:
    """What a kernel moves and issues, and the times in seconds that follow.

    Attributes:
        bytes: Moved between the device's memory and L2.
        instructions: Issued for warps.
        memory: Time that the bytes take.
        cache: Time that the sectors take.
        issue: Time that the busiest scheduler issues for.
        latency: Time that the longest chain takes.
        launch: Time of a launch.
    """

    bytes: float
    instructions: float
    memory: float
    cache: float
    issue: float
    latency: float
    launch: float

    @property
    def bound(self) -> str:
        """What limits the kernel."""
        return max(("memory", "cache", "issue", "latency"), key=lambda name: getattr(self, name))

    @property
    def time(self) -> float:
        """Seconds from launch to launch."""
        return getattr(self, self.bound) + self.launch


@dataclass(frozen=True)
class Grid:
    """Blocks of a launch, spread over the multiprocessors.

    Attributes:
        blocks: How many.
        warps: Of a block.
        resident: Blocks that a multiprocessor holds at a time.
    """

    blocks: int
    warps: int
    resident: int

    def most(self, machine: Machine) -> int:
        """Return the blocks of the busiest multiprocessor."""
        return _ceil(self.blocks, machine.multiprocessors)

    def rounds(self, machine: Machine) -> int:
        """Return how many blocks follow one another on it."""
        return _ceil(self.most(machine), self.resident)

    def warps_of_scheduler(self, machine: Machine) -> int:
        """Return the warps that its busiest scheduler gets."""
        return _ceil(self.most(machine) * self.warps, SCHEDULERS)


def forward_sequential(p: Problem) -> Prediction:
    """Predict the forward pass step after step."""
    return _sequential(p, "forward_sequential", p.forward_bytes, p.step_latency)


def backward_sequential(p: Problem) -> Prediction:
    """Predict the backward pass step after step; the gates of a step are not computed ahead."""
    adjoint = p.cell.adjoint_latency(p.machine, p.format)
    return _sequential(p, "backward_sequential", p.backward_bytes, p.step_latency + adjoint)


def _sequential(p: Problem, kernel: str, size: int, step: int) -> Prediction:
    grid = _grid(p, kernel, _ceil(p.batch * p.channels, SEQUENTIAL_THREADS), SEQUENTIAL_THREADS, 0)
    waiting = max(step, p.machine.memory_latency / p.cell.ahead(p.format))
    return _predict(
        p,
        grid,
        size=size,
        sectors=1.0,
        instructions=p.steps * p.code(kernel).instructions,
        issue=p.steps * p.clocks(kernel),
        latency=p.steps * waiting,
    )


def forward_newton(p: Problem, lanes: int | None = None) -> Prediction:
    """Predict the forward pass by Newton's method, with the lanes that ``device.choose`` takes."""
    lanes = lanes_of(p.batch, p.channels, p.machine.multiprocessors) if lanes is None else lanes
    threads = min(THREADS, WARP * _ceil(_ceil(p.steps, p.cell.newton_segment) * lanes, WARP))
    segment, passes = p.cell.newton_segment, p.machine.iterations
    tiles = _ceil(p.steps, threads // lanes * segment)
    blocks = p.batch * _ceil(p.channels, lanes)
    grid = _grid(p, "forward_newton", blocks, threads, newton_shared(p, threads, lanes))
    correction = _scan_latency(p, grid.warps, lanes)
    walks = (passes + 1) * segment * p.step_latency + passes * correction
    steps, staging = tiles * segment, p.staging("forward_newton", lanes)
    return _predict(
        p,
        grid,
        size=p.forward_bytes,
        sectors=_sectors(p, lanes),
        instructions=steps * (staging + _passes(p, lambda kernel: p.code(kernel).instructions)),
        issue=steps * (staging * p.machine.issue_clocks + _passes(p, p.clocks)),
        latency=tiles * (walks + p.machine.cache_latency),
    )


def _passes(p: Problem, of: Callable[[str], float]) -> float:
    """Sum over the iterations, and the walk from the corrected starts, which is a plain step."""
    return p.machine.iterations * of("forward_newton") + of("forward_sequential")


def backward_scan(p: Problem, lanes: int | None = None) -> Prediction:
    """Predict the backward pass as a scan: maps are composed, and then walked through."""
    lanes = next(x for x in LANES if x <= p.channels) if lanes is None else lanes
    threads, segment = scan_threads(p), p.cell.scan_segment
    tiles = _ceil(p.steps, threads // lanes * segment)
    blocks = p.batch * _ceil(p.channels, lanes) * tiles
    grid = _grid(p, "scan_tiles", blocks, threads, scan_shared(p, threads))
    adjoint = p.cell.adjoint_latency(p.machine, p.format)
    walks = segment * (2 * p.step_latency + adjoint) + _scan_latency(p, grid.warps, lanes)
    look_back, staging = look_back_latency(p), p.staging("scan_tiles", lanes)
    rounds = grid.rounds(p.machine)
    chain = max(1, tiles // GROUP) * look_back
    return _predict(
        p,
        grid,
        size=p.backward_bytes,
        sectors=_sectors(p, lanes),
        instructions=segment * (staging + 2 * p.code("scan_tiles").instructions),
        issue=segment * (staging * p.machine.issue_clocks + 2 * p.clocks("scan_tiles")),
        latency=p.machine.cache_latency + walks + max(chain / rounds, look_back),
    )


def look_back_latency(p: Problem) -> float:
    """Return the clocks from one published state to the next, a group of tiles later.

    The state is seen and loaded; then the maps of the tiles come from L2, so many loads at a time,
    and are applied one after another.
    """
    code, state = p.code("scan_tiles"), p.cell.state
    turns = _ceil(GROUP, max(1, code.loads // (state**2 + state)))
    waits = 2 + turns * _ceil(code.loads, code.ahead)
    add, _, _ = latencies(p.machine, p.format)
    return waits * p.machine.cache_latency + GROUP * state * add


def _predict(
    p: Problem,
    grid: Grid,
    *,
    size: float,
    sectors: float,
    instructions: float,
    issue: float,
    latency: float,
) -> Prediction:
    """Return the four times; instructions and clocks of issue are those of one warp."""
    machine, moved = p.machine, p.elements * size
    return Prediction(
        bytes=moved,
        instructions=grid.blocks * grid.warps * instructions,
        memory=moved / (machine.bandwidth * machine.bandwidth_share),
        cache=moved * sectors / (machine.cache * machine.cache_share * machine.clock),
        issue=grid.warps_of_scheduler(machine) * issue / machine.clock,
        latency=grid.rounds(machine) * latency / machine.clock,
        launch=machine.launch,
    )


def _grid(p: Problem, kernel: str, blocks: int, threads: int, shared: int) -> Grid:
    warps = threads // WARP
    resident = resident_warps(p.machine.arch, p.code(kernel).registers, threads, shared) // warps
    return Grid(blocks, warps, max(1, resident))


def _scan_latency(p: Problem, warps: int, lanes: int) -> float:
    """Return the clocks of the scan over a block's segments: in a warp, and over the warps."""
    add = p.machine.double_latency if p.format.code == "double" else p.machine.add_latency
    hop = p.machine.shared_latency + (p.cell.state + 1) * add
    doublings = (WARP // lanes).bit_length() - 1
    return (doublings + warps) * hop + 2 * p.machine.shared_latency


def _sectors(p: Problem, lanes: int) -> float:
    """Return how many times its bytes L2 hands out, as rows of L channels fill no sector."""
    return max(1.0, p.machine.sector / (min(lanes, p.channels) * p.format.size))


def newton_shared(p: Problem, threads: int, lanes: int) -> int:
    """Return the bytes of shared memory of a block of the Newton kernel: ``NewtonTile::bytes``."""
    row, state, steps = WARP * p.format.state, p.cell.state, p.cell.newton_segment
    drives = threads * steps * p.cell.drives * p.format.size
    maps = threads // WARP * (state * state + 2 * state) * row
    return drives + maps + state * row + threads // lanes * steps


def scan_shared(p: Problem, threads: int) -> int:
    """Return the same of the scan: ``LookBackTile::bytes``."""
    cell, format = p.cell, p.format
    row = (cell.drives + 2 * cell.k) * format.size + cell.memory * format.state
    source = max(p.cell.scan_segment * row, cell.weights * format.state)
    maps = (cell.state**2 + cell.state) * format.state
    return threads * (source + maps) + cell.state * WARP * format.state + 16


def scan_threads(p: Problem) -> int:
    """Return the threads of a block of the scan: ``LookBackTile::threads``."""
    threads = THREADS
    while threads > WARP and scan_shared(p, threads) > SCAN_SHARED:
        threads //= 2
    return threads


def _ceil(x: int, y: int) -> int:
    return -(-x // y)


KERNELS: dict[tuple[str, str], Callable[[Problem], Prediction]] = {
    ("forward", "sequential"): forward_sequential,
    ("forward", "parallel"): forward_newton,
    ("backward", "sequential"): backward_sequential,
    ("backward", "parallel"): backward_scan,
}
"""By direction and method."""
