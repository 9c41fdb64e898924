"""The executor of CUDA kernels on the CPU: right kernels, and each error that it must report."""

import ctypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from simt.programs import FOLDER, SANITIZERS, Done, compiled, run, sanitized

LAUNCH_FAILURE = 719
INVALID_CONFIGURATION = 9

Toys = Callable[..., tuple[int, np.ndarray, str]]


@pytest.fixture(scope="session")
def toys(scheduler: Path) -> Toys:
    """Return what runs a toy: its status, its output, and the message."""
    path = compiled(
        "-O1", "-shared", FOLDER / "toys.cpp", scheduler, scheduler.with_name("toys.so")
    )
    library = ctypes.CDLL(str(path))
    library.paratime_simt_error.restype = ctypes.c_char_p
    library.paratime_simt_schedule.argtypes = (ctypes.c_uint64, ctypes.c_int32)

    def run(
        name: str, blocks: int = 2, threads: int = 64, seed: int = 0, resident: int = 1
    ) -> tuple[int, np.ndarray, str]:
        x = inputs(blocks, threads)
        out = np.zeros(x.size + 2 * blocks + 2, dtype=np.int32)
        library.paratime_simt_schedule(seed, resident)
        pointers = (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        status = library.toy(name.encode(), blocks, threads, *pointers)
        message = library.paratime_simt_error().decode()
        return status, out[: x.size].reshape(x.shape), message

    return run


def inputs(blocks: int, threads: int) -> np.ndarray:
    return (np.arange(blocks * threads, dtype=np.int32) * 7 % 31).reshape(blocks, threads)


def by_warp(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Apply a function of a warp's lanes, the last axis, to all warps of the blocks."""

    def apply(x: np.ndarray) -> np.ndarray:
        warps = np.split(x, range(32, x.shape[1], 32), axis=1)
        return np.concatenate([function(warp) for warp in warps], axis=1)

    return apply


def votes(x: np.ndarray) -> np.ndarray:
    any_, all_, count = (f(x, axis=1, keepdims=True) for f in (np.any, np.all, np.sum))
    return np.broadcast_to(any_ + 2 * all_ + 4 * count, x.shape)


def halves(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[:, :16] = x[:, :16].sum(1, keepdims=True)
    return np.roll(x, 16, axis=1)


def exchange(x: np.ndarray) -> np.ndarray:
    for _ in range(8):
        x = x + np.roll(x, -32, axis=1)
    return x


def last_block(x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    out[0, 0] = x.sum()
    return out


ANY_SIZE = {
    "sums": lambda x: np.broadcast_to(x.sum(1, keepdims=True), x.shape),
    "many_barriers": lambda x: x,
    "shuffle_up": by_warp(lambda x: x[:, [i - 3 if i >= 3 else i for i in range(x.shape[1])]]),
    "votes": by_warp(lambda x: votes(x % 5 == 0)),
    "block_votes": lambda x: votes(x % 3 != 0),
    "look_back": lambda x: np.broadcast_to(np.cumsum(x.sum(1))[:, None], x.shape),
    "last_block": last_block,
    "bytes": lambda x: 2 * x[:, ::-1],
}
WHOLE_WARPS = {
    "shuffle_down": by_warp(lambda x: x[:, [30, 31, *range(2, 32)]]),
    "shuffle_xor": by_warp(lambda x: x[:, np.arange(32) ^ 5]),
    "halves": by_warp(halves),
    "exchanged": exchange,
    "reversed_warps": by_warp(lambda x: x[:, ::-1]),
}
TWINS = ANY_SIZE | WHOLE_WARPS
SCHEDULES = [(0, 1), (0, 3), (1, 1), (2, 3), (3, 2)]
SIZES = [(1, 1), (2, 20), (4, 33), (5, 96), (3, 500)]


@pytest.mark.parametrize("seed, resident", SCHEDULES)
@pytest.mark.parametrize("name", TWINS)
def test_values(toys: Toys, name: str, seed: int, resident: int):
    sizes = SIZES if name in ANY_SIZE else [(1, 32), (5, 96)]
    for blocks, threads in sizes:
        status, out, message = toys(name, blocks, threads, seed, resident)
        assert (status, message) == (0, "")
        twin = TWINS[name](inputs(blocks, threads).astype(np.int64))
        np.testing.assert_array_equal(out, twin, err_msg=f"{blocks} blocks of {threads}")


def test_a_lane_is_broadcast(toys: Toys):
    x = inputs(3, 17)
    np.testing.assert_array_equal(toys("shuffle", 3, 17)[1], np.repeat(x[:, -1:], 17, axis=1))


def test_indices_in_three_dimensions(toys: Toys):
    np.testing.assert_array_equal(toys("solid", 12, 24)[1].ravel(), np.arange(288))


@pytest.mark.parametrize("seed", range(4))
def test_blocks_under_way_wait_for_each_other(toys: Toys, seed: int):
    status, out, message = toys("rendezvous", 3, 64, seed, 3)
    assert (status, message) == (0, "")
    np.testing.assert_array_equal(out, inputs(3, 64))


SITE = r"toys\.cpp:\d+"
ERRORS = {
    "ended": r"thread 5: divergent __syncthreads: thread 0 waits at .*, but this thread has ended",
    "ended_before": r"thread 32: divergent __syncthreads: thread 0 has ended",
    "two_barriers": rf"thread 32: divergent __syncthreads: thread 0 waits at {SITE} in __sync",
    "two_kinds": rf"divergent __syncthreads_or: thread 0 waits at {SITE} in __syncthreads$",
    "barrier_and_shuffle": rf"divergent __shfl_sync: thread 0 waits at {SITE} in __syncthreads",
    "shuffle_and_barrier": rf"divergent __syncthreads: thread 0 waits at {SITE} in __shfl_sync",
    "not_named": r"__syncwarp: mask fffffffe does not name the calling lane 0",
    "lane_ended": r"thread 7: divergent __any_sync: .* but this thread has ended",
    "lane_ends": r"thread 31: divergent __any_sync: .* but this thread has ended",
    "lane_elsewhere": rf"divergent __any_sync: thread 0 waits at {SITE} in __any_sync",
    "two_masks": r"divergent __any_sync: thread 15 has ended",
    "reads_unnamed": r"__shfl_xor_sync: reads lane 16, which mask 0000ffff does not name",
    "circle": r"deadlock: it waits in __syncwarp for ever",
    "spin": r"deadlock: no thread has made progress in 10000000 turns",
    "rendezvous": r"deadlock: no thread has made progress",
    "unwritten": r"thread 3: .* element 3, at byte 12, is read before it is written",
    "half_written": r"element 0, at byte 0, is read before it is written",
    "stale_block": r"block 1, thread 0: .* element 0, at byte 0, is read before it is written",
    "beyond_count": r"block 0, thread 63: shared memory: element 64 of 64",
    "before_first": r"block 0, thread 0: shared memory: element -1 of 64",
    "copy_beyond": r"shared memory: element 7 of 6",
    "beyond_block": r"1000000 elements of 8 bytes at byte 8 end beyond byte 1024",
    "misaligned": r"1 elements of 8 bytes cannot be at byte 4",
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(toys: Toys, name: str):
    status, _, message = toys(name)
    assert status == LAUNCH_FAILURE
    assert re.match(rf"{SITE}: block \d, thread \d+: ", message), message
    assert re.search(ERRORS[name], message), message
    assert message.count("\n") == 0

    status, out, message = toys("sums")
    assert (status, message) == (0, "")
    np.testing.assert_array_equal(out, TWINS["sums"](inputs(2, 64)))


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"rendezvous", "spin"}))
def test_error_under_any_schedule(toys: Toys, name: str, seed: int):
    assert toys(name, seed=seed, resident=2)[0] == LAUNCH_FAILURE


def test_lanes_beyond_the_block(toys: Toys):
    message = toys("lanes_beyond", 1, 40)[2]
    assert "mask ffffffff names lanes beyond the block's last, 7" in message


def test_divergent_barriers_are_both_named(toys: Toys):
    lines = (FOLDER / "toys.cpp").read_text().splitlines()
    named = re.findall(r"toys\.cpp:(\d+)", toys("two_barriers")[2])
    assert len(set(named)) == 2
    assert all("__syncthreads();" in lines[int(number) - 1] for number in named)


@pytest.mark.parametrize("blocks, threads", [(0, 32), (1, 0), (1, 1025)])
def test_launches_that_cannot_be(toys: Toys, blocks: int, threads: int):
    status, _, message = toys("sums", blocks, threads)
    assert status == INVALID_CONFIGURATION
    assert message.startswith("launch: ")


def test_random_schedules_find_a_missing_barrier(toys: Toys):
    right = exchange(inputs(2, 128))
    assert np.array_equal(toys("missing_barrier", 2, 128)[1], right), "chance finds it, not order"
    found = [not np.array_equal(toys("missing_barrier", 2, 128, n)[1], right) for n in range(1, 21)]
    assert any(found)


# Sanitizers. The scheduler is compiled without them, and finds them when it runs.

ALL_RIGHT = [*TWINS, "rendezvous"]


@pytest.fixture(scope="session")
def checked(scheduler: Path) -> Callable[..., Done]:
    """Return what runs toys under a sanitizer, in a program of their own."""
    programs: dict[str, Path] = {}

    def check(sanitizer: str, names: Sequence[str], seed: int = 0) -> Done:
        if sanitizer not in programs:
            target = scheduler.with_name(sanitizer)
            programs[sanitizer] = sanitized(sanitizer, FOLDER / "toys.cpp", scheduler, target)
        return run(programs[sanitizer], 2, 64, seed, 2, *names)

    return check


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_sanitizers_accept_what_is_right(checked, sanitizer: str, seed: int):
    done = checked(sanitizer, ALL_RIGHT, seed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr and "data race" not in done.stderr


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_sanitizers_accept_an_abandoned_launch(checked, sanitizer: str):
    errors = sorted(set(ERRORS) - {"rendezvous", "spin", "stale_block", "half_written"})
    names = [name for error in errors for name in (error, "sums")]
    done = checked(sanitizer, names)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(errors)


def races(report: str) -> set[int]:
    """Return the lines of the toys that a report of ThreadSanitizer names."""
    return {int(number) for number in re.findall(r"toys\.cpp:(\d+)", report)}


def line_of(text: str) -> int:
    lines = (FOLDER / "toys.cpp").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    "name, text",
    [
        ("missing_barrier", "// races with the load"),
        ("missing_barrier", "x += shared.load"),
        ("missing_syncwarp", "shared.load(thread() ^ 31)"),
        ("missing_acquire", "// no fence"),
    ],
)
def test_thread_sanitizer_finds_races_by_line(checked, name: str, text: str):
    done = checked("thread", [name])
    assert done.returncode != 0
    assert "data race" in done.stderr
    assert line_of(text) in races(done.stderr)


@pytest.mark.parametrize(
    "name, kind, text",
    [
        ("off_by_one", "heap-buffer-overflow", "// beyond the last"),
        ("local_off_by_one", "stack-buffer-overflow", "// beyond its own"),
    ],
)
def test_address_sanitizer_finds_overruns_by_line(checked, name: str, kind: str, text: str):
    done = checked("address", [name])
    assert done.returncode != 0
    assert kind in done.stderr
    assert f"toys.cpp:{line_of(text)}" in done.stderr
