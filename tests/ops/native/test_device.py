"""The CUDA kernels, executed thread by thread, against the loop in float64."""

from functools import cache

import pytest
import torch
from ops.test_recurrence import run
from torch import Tensor

from paratime import ParaGRU
from paratime.errors import InputError
from paratime.ops.native import device, library, targets
from paratime.ops.recurrence import gru, lstm
from paratime.ops.scan import scan, scan_loop
from paratime.testing import TOLERANCE, relative_error

CASES = {
    "gru1": (gru, 1),
    "gru2": (gru, 2),
    "gru4": (gru, 4),
    "lstm1": (lstm, 1),
    "lstm2": (lstm, 2),
}
CHOICES = {
    "sequential": device.Choice("sequential"),
    "32 lanes": device.Choice("parallel", 32, 64),
    "8 lanes": device.Choice("parallel", 8, 64),
    "4 lanes": device.Choice("parallel", 4, 32),
    "1 lane": device.Choice("parallel", 1, 32),
}
STEPS = (1, 2, 31, 32, 33, 500, 3000)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
BORDERS = (0, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511)


@pytest.fixture(autouse=True)
def emulation():
    with library.force_backend(targets.SIMT):
        assert device.has_kernel("gru", 1, torch.device("cpu")), (
            "else the loop runs in place of a kernel"
        )
        yield
    library.schedule(0, 1)


@cache
def problem(case: str, steps: int, channels: int, dtype: torch.dtype, scale: float) -> tuple:
    """Return inputs with resets at the borders of chunks and tiles, and their truth."""
    torch.manual_seed(steps)
    op, k = CASES[case]
    rows, weights = (k, 3 * k * k) if op is gru else (2 * k, 3 * k * k + 2 * k)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    u = torch.randn(2, steps, 3 * k, channels, dtype=torch.float64).to(dtype)
    weight = (scale * torch.randn(weights, channels, dtype=torch.float64) / k).to(exact)
    h0 = torch.randn(2, rows, channels, dtype=torch.float64).tanh().to(exact)
    reset = torch.zeros(2, steps, dtype=torch.bool)
    reset[0, [t for t in (*BORDERS, steps - 1) if t < steps]] = True
    inputs = [u, weight, h0, reset, torch.tensor([steps, steps - steps // 3])]
    shapes = (2, steps, k, channels), h0.shape
    cotangents = [torch.randn(shape).to(dtype).double() for shape in shapes]
    doubles = [x.double() for x in inputs[:3]] + inputs[3:]
    with library.force_backend(library.REFERENCE):
        return inputs, cotangents, *run(op, doubles, cotangents)


def check(case: str, inputs: list[Tensor], cotangents: list[Tensor], truth, gradients) -> None:
    found, found_gradients = run(CASES[case][0], inputs, cotangents)
    allowed = TOLERANCE[inputs[0].dtype]
    for x, y in zip(found, truth, strict=True):
        assert (x.double() - y).abs().max() <= allowed.value
    for x, y in zip(found_gradients, gradients, strict=True):
        assert relative_error(x.double(), y) <= allowed.gradient


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_the_loop(case, steps, choice):
    with device.force_choice(CHOICES[choice]):
        check(case, *problem(case, steps, 7, torch.float32, 1.0))


@pytest.mark.parametrize("choice", ("sequential", "32 lanes", "4 lanes"))
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_formats(case, dtype, steps, choice):
    with device.force_choice(CHOICES[choice]):
        check(case, *problem(case, steps, 36 if steps < 100 else 9, dtype, 0.5))


@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_chaotic_channels_end_with_the_loops_result(case):
    """By at most as many iterations as segments, each exact to rounding in float64."""
    inputs, _, truth, _ = problem(case, 100, 6, torch.float64, 3.0)
    with device.force_choice(CHOICES["1 lane"]):
        y, _, report = CASES[case][0](*inputs)
    assert (y - truth[0]).abs().max() <= 1e-6
    assert report[0] > 3


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("case", ("gru1", "lstm2"))
def test_no_order_of_threads_changes_a_bit(case, seed):
    inputs, cotangents, *_ = problem(case, 500, 7, torch.float32, 1.0)
    with device.force_choice(CHOICES["8 lanes"]):
        expected = run(CASES[case][0], inputs, cotangents)
        library.schedule(seed, 3)
        found = run(CASES[case][0], inputs, cotangents)
    for x, y in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
        assert torch.equal(x, y)


def test_what_is_not_a_number_goes_in_and_comes_out():
    inputs = [x.clone() for x in problem("gru1", 100, 6, torch.float32, 1.0)[0][:3]]
    inputs[0][0, 50, :, 2] = torch.nan
    with device.force_choice(CHOICES["4 lanes"]):
        y, final, _ = gru(*inputs, None, None)
    assert y[0, 50:, :, 2].isnan().all() and final[0, :, 2].isnan().all()
    y[0, 50:, :, 2] = 0
    assert not y.isnan().any()


@pytest.mark.parametrize("reverse", (False, True))
@pytest.mark.parametrize("steps", (1, 33, 700))
@pytest.mark.parametrize("size", (1, 2, 4))
@pytest.mark.parametrize("lanes", (32, 4))
def test_scan(size, steps, reverse, lanes):
    a = torch.randn(2, steps, size, size, 5).double() / size
    b, h0 = torch.randn(2, steps, size, 5).double(), torch.randn(2, size, 5).double()
    if size == 1:
        a, b, h0 = a[:, :, 0, 0], b[:, :, 0], h0[:, 0]
    with device.force_choice(device.Choice("parallel", lanes)):
        h = scan(a, b, h0, reverse=reverse)
    truth = scan_loop(a, b, h0, reverse=reverse)
    assert relative_error(h, truth) <= TOLERANCE[torch.float64].value


def test_products_that_overflow():
    """A zero state times an infinite product of slopes is zero; so it is in the loop."""
    a, b = torch.full((1, 900, 3), 1e30), torch.zeros(1, 900, 3)
    b[:, 880:] = 1e-30
    library.schedule(5, 2)
    h = scan(a, b)
    truth = scan_loop(a, b)
    assert torch.equal(h[:, :880], truth[:, :880])
    assert torch.equal(h.isfinite(), truth.isfinite())


def test_a_launch_that_fails_says_so(monkeypatch):
    inputs = problem("gru1", 33, 7, torch.float32, 1.0)[0]
    monkeypatch.setattr(device, "_fitting", lambda *_: 48)  # a warp and a half
    with (
        device.force_choice(CHOICES["8 lanes"]),
        pytest.raises(RuntimeError, match=r"gru1_forward_newton_float32: launch failed: .*mask"),
    ):
        gru(*inputs)


def test_a_layer_reports_its_iterations():
    layer, x = ParaGRU(8), torch.randn(2, 500, 8)
    with device.force_choice(CHOICES["8 lanes"]):
        layer(x)
    assert layer.solution.converged and layer.solution.iterations > 0
    assert layer.telemetry().tolist() == [layer.solution.iterations, layer.solution.defect, 0.0]


@pytest.mark.parametrize("value", (torch.nan, torch.inf))
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_a_reset_ends_what_is_not_a_number(case, choice, value):
    inputs = [x.clone() for x in problem(case, 500, 7, torch.float32, 1.0)[0]]
    inputs[3] = torch.zeros(2, 500, dtype=torch.bool)
    inputs[3][:, 300] = True
    inputs[4] = None
    inputs[0][0, 70, :, 2] = torch.nan
    inputs[2][1, :, 3] = value
    with library.force_backend(library.REFERENCE):
        expected, *_ = CASES[case][0](*inputs)
    with device.force_choice(CHOICES[choice]):
        y, *_ = CASES[case][0](*inputs)
    assert y[:, 300:].isfinite().all()
    assert (y[:, 300:] - expected[:, 300:]).abs().max() <= TOLERANCE[torch.float32].value
    assert y[0, 70:300, :, 2].isnan().all()


def test_a_table_of_thresholds_that_somebody_has_spoilt(tmp_path, monkeypatch):
    table = tmp_path / "thresholds.csv"
    for text in ("", "direction,format,channels\nforward,float32,many\n", "a,b\n1,2\n"):
        table.write_text(text)
        monkeypatch.setattr(device, "TABLE", table)
        device.thresholds.cache_clear()
        with pytest.raises(InputError, match=r"thresholds\.csv.*for every direction and format"):
            device.thresholds()
    device.thresholds.cache_clear()


def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return a list to which every launch adds its kernel, and the last argument."""
    launches, launch = [], library.launch

    def spy(kernel, where, *arguments, stream):
        launches.append((kernel.__name__, arguments[-1]))
        launch(kernel, where, *arguments, stream=stream)

    monkeypatch.setattr(library, "launch", spy)
    return launches


@pytest.mark.parametrize(
    ("kilobytes", "threads", "expected"),
    [(227, 256, 256), (99, 256, 128), (64, 256, 64), (64, 96, 96), (37, 96, 32), (16, 256, None)],
)
def test_a_block_has_as_many_threads_as_shared_memory_allows(
    kilobytes, threads, expected, monkeypatch
):
    monkeypatch.setattr(device, "_most_shared", lambda _: 1024 * kilobytes)
    launches = launched(monkeypatch)
    inputs, _, truth, _ = problem("lstm2", 33, 7, torch.float64, 0.5)
    with device.force_choice(device.Choice("parallel", 32, threads)), torch.no_grad():
        y, final, report = lstm(*inputs)
    for x, exact in zip((y, final), truth, strict=True):
        assert (x - exact).abs().max() <= TOLERANCE[torch.float64].value
    ((name, last),) = launches
    if expected is None:
        assert name == "paratime_lstm2_forward_sequential_float64" and report.tolist() == [0, 0, 0]
    else:
        assert (name, last) == ("paratime_lstm2_forward_newton_float64", expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_shared_memory_of_a_block_is_what_its_kernel_takes(case, dtype, monkeypatch):
    needs = library.device_function(f"{case}_shared_{library.FORMATS[dtype]}", torch.device("cpu"))
    if needs is None:
        assert case == "gru4" and dtype == torch.float64, "has no parallel kernels"
        return
    taken = library.query(needs, 64, 3)
    launches = launched(monkeypatch)
    inputs = problem(case, 33, 7, dtype, 0.5)[0]
    for most, threads in ((taken, 64), (taken - 1, 32)):
        monkeypatch.setattr(device, "_most_shared", lambda _, most=most: most)
        with device.force_choice(CHOICES["8 lanes"]), torch.no_grad():
            CASES[case][0](*inputs)
        assert launches[-1][1] == threads


def test_the_emulation_has_the_shared_memory_of_an_h100():
    assert device._most_shared(torch.device("cpu")) == 227 * 1024


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("fast",), "Choice.method: expected one of sequential, parallel, got fast; name one"),
        (("parallel", 16), "Choice.lanes: expected one of 32, 8, 4, 1, got 16; name one"),
        (("parallel", 8, 48), "Choice.threads: expected a multiple of 32 from 32 to 256, got 48;"),
        (("parallel", 8, 0), "Choice.threads: .* got 0;"),
        (("parallel", 8, 288), "Choice.threads: .* got 288;"),
    ],
    ids=str,
)
def test_a_choice_that_no_kernel_can_follow(values, message):
    with pytest.raises(InputError, match=f"^{message}"):
        device.Choice(*values)


def test_no_steps_at_all():
    inputs = problem("gru1", 33, 7, torch.float32, 1.0)[0]
    y, final, _ = gru(inputs[0][:, :0], inputs[1], inputs[2], inputs[3][:, :0], None)
    assert y.shape == (2, 0, 1, 7) and torch.equal(final, inputs[2])


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_infinite_states_go_the_same_way_by_both_methods(case, dtype):
    inputs = [x.clone() for x in problem(case, 300, 7, dtype, 2.0)[0][:3]]
    inputs[2][:, :, ::2] = torch.tensor([torch.inf, -torch.inf]).to(inputs[2]).view(2, 1, 1)
    with device.force_choice(CHOICES["sequential"]):
        expected, _, _ = CASES[case][0](*inputs, None, None)
    with device.force_choice(CHOICES["8 lanes"]):
        y, _, _ = CASES[case][0](*inputs, None, None)
    assert not expected.isfinite().all()
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(kind(y), kind(expected))
