"""What only a device shows: streams, graphs, other devices, and that nothing waits for the host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from cases import inputs
from gpu.places import Outcome, all_of, check, moved, same
from ops.native.test_device import CASES, CHOICES, problem
from ops.test_recurrence import run

from paratime import ParaGRU
from paratime.ops.native import device
from paratime.ops.scan import scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

METHODS = {name: CHOICES[name] for name in ("sequential", "8 lanes")}
CASES_AND_METHODS = pytest.mark.parametrize(("case", "method"), all_of(("gru1", "lstm2"), METHODS))


@contextmanager
def no_waiting() -> Iterator[None]:
    """Make it an error to wait for the device, in a copy to the host, say."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def captured(work: Callable[[], Outcome]) -> tuple[torch.cuda.CUDAGraph, Outcome]:
    """Capture work in a graph; it has run before, on a stream of its own, as torch demands."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


@CASES_AND_METHODS
def test_a_graph_replays_what_was_captured(cuda, case, method):
    values, cotangents, *_ = problem(case, 500, 7, torch.float32, 1.0)
    values, cotangents = moved(values, cuda), moved(cotangents, cuda)
    with device.force_choice(METHODS[method]):
        graph, result = captured(lambda: run(CASES[case][0], values, cotangents))
        for scale in (0.5, -1.0):
            values[0].mul_(scale)
            graph.replay()
            assert same(result, run(CASES[case][0], values, cotangents))


def test_a_graph_of_a_scan_replays(cuda):
    a, b = torch.rand(2, 5000, 9, device=cuda), torch.randn(2, 5000, 9, device=cuda)
    graph, result = captured(lambda: ([scan(a, b)], []))
    b.neg_()
    for _ in range(3):
        graph.replay()
    assert torch.equal(result[0][0], scan(a, b))


@CASES_AND_METHODS
def test_two_streams_at_a_time_give_the_same_bits(cuda, case, method):
    sizes = [(500, 7, torch.float32, 1.0), (500, 36, torch.float32, 0.5)]
    problems = [[moved(x, cuda) for x in problem(case, *size)[:2]] for size in sizes]
    streams = [torch.cuda.Stream(cuda) for _ in sizes]
    with device.force_choice(METHODS[method]):
        expected = [run(CASES[case][0], *x) for x in problems]
        torch.cuda.synchronize()
        for _ in range(10):
            found = []
            for stream, x in zip(streams, problems, strict=True):
                with torch.cuda.stream(stream):
                    found.append(run(CASES[case][0], *x))
            torch.cuda.synchronize()
            assert all(map(same, found, expected))


def test_scans_on_two_streams_do_not_wait_for_each_other(cuda):
    a, b = torch.rand(8, 20_000, 64, device=cuda), torch.randn(8, 20_000, 64, device=cuda)
    streams = [torch.cuda.Stream(cuda) for _ in range(2)]
    expected = scan(a, b)
    torch.cuda.synchronize()
    for _ in range(20):
        found = []
        for stream in streams:
            with torch.cuda.stream(stream):
                found.append(scan(a, b))
        torch.cuda.synchronize()
        assert all(torch.equal(x, expected) for x in found)


@CASES_AND_METHODS
def test_nothing_waits_for_the_device(cuda, case, method):
    values, cotangents, *_ = problem(case, 500, 7, torch.float32, 1.0)
    values, cotangents = moved(values, cuda), moved(cotangents, cuda)
    with device.force_choice(METHODS[method]):
        expected = run(CASES[case][0], values, cotangents)
        with no_waiting():
            found = run(CASES[case][0], values, cotangents)
    assert same(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_does_not_wait_for_the_device(cuda, method):
    layer, x = ParaGRU(4, 64).to(cuda), inputs(torch.float32, 300).to(cuda)
    with device.force_choice(METHODS[method]):
        layer(x)[0].sum().backward()
        with no_waiting():
            y, state = layer(x)
            (y.sum() + state.sum()).backward()
            with torch.no_grad():
                layer(x)
    assert layer.solution.converged


@pytest.mark.parametrize("method", METHODS)
def test_a_device_that_is_not_the_current_one(cuda, method):
    others = [i for i in range(torch.cuda.device_count()) if i != cuda.index]
    if not others:
        pytest.skip("one CUDA device, and another one is needed")
    for index in others:
        with device.force_choice(METHODS[method]):
            for case in CASES:
                check(case, torch.device("cuda", index), 500, 7, torch.float32, 1.0)
        a, b = torch.rand(2, 900, 5), torch.randn(2, 900, 5)
        there = scan(a.to(index), b.to(index))
        assert torch.allclose(there.cpu(), scan(a, b), atol=1e-5)
        assert torch.cuda.current_device() == cuda.index


def test_a_launch_that_fails_says_so_and_leaves_the_device_alone(cuda, monkeypatch):
    values = moved(problem("gru1", 33, 7, torch.float32, 1.0)[0], cuda)
    monkeypatch.setattr(device, "_fitting", lambda *_: 4096)
    with (
        device.force_choice(CHOICES["32 lanes"]),
        pytest.raises(RuntimeError, match=r"gru1_forward_newton_float32: launch failed: "),
    ):
        CASES["gru1"][0](*values)
    assert int((torch.ones(3, device=cuda) + 1).sum()) == 6
