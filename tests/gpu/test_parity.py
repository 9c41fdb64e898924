"""The operators on a device against the loop in float64: values and all gradients."""

import math

import pytest
import torch
from gpu.places import all_of, check, close, everywhere, moved, on, same
from ops.native.test_device import CASES, CHOICES, DTYPES, STEPS, problem
from ops.test_recurrence import problem as draw
from ops.test_recurrence import run

from paratime.ops.native import device, library
from paratime.ops.recurrence import gru
from paratime.ops.scan import scan, scan_loop
from paratime.testing import TOLERANCE, relative_error

SIZES = ((1, 1, 1), (2, 70, 7), (64, 40, 300), (40, 20, 1024))
"""B, T and C; by default some of them run step after step, and some in parallel."""


@on(
    "case, steps, choice",
    all_of(CASES, STEPS, CHOICES),
    [("gru1", 33, "8 lanes"), ("lstm2", 33, "sequential"), ("gru4", 2, "32 lanes")],
)
def test_outputs_and_gradients_are_those_of_the_loop(where, case, steps, choice):
    with device.force_choice(CHOICES[choice]):
        check(case, where, steps, 7, torch.float32, 1.0)


@on(
    "case, dtype, steps, choice",
    all_of(CASES, DTYPES, (33, 500), CHOICES),
    [("lstm1", torch.bfloat16, 33, "4 lanes"), ("gru2", torch.float64, 33, "1 lane")],
)
def test_formats(where, case, dtype, steps, choice):
    with device.force_choice(CHOICES[choice]):
        check(case, where, steps, 36 if steps < 100 else 9, dtype, 0.5)


@on(
    "case, size, dtype",
    all_of(CASES, SIZES, DTYPES),
    [("gru1", (2, 70, 7), torch.float32), ("lstm1", (1, 1, 1), torch.float32)],
)
def test_the_method_that_is_chosen_by_default(where, case, size, dtype):
    """The truth is that of the loop in torch, on the device itself."""
    (batch, steps, channels), (op, k) = size, CASES[case]
    inputs = moved(draw(op, k, channels, dtype, batch, steps), where)
    shapes = (batch, steps, k, channels), inputs[2].shape
    cotangents = [torch.randn(shape, device=where).to(dtype).double() for shape in shapes]
    found = run(op, inputs, cotangents)
    with library.force_backend(library.REFERENCE):
        truth = run(op, [x.double() for x in inputs[:3]] + inputs[3:], cotangents)
    close(found, truth, dtype)


@on("case", CASES, ["gru1"])
def test_chaotic_channels_end_with_the_loops_result(where, case):
    """By at most as many iterations as segments, each exact to rounding in float64."""
    inputs, _, truth, _ = problem(case, 100, 6, torch.float64, 3.0)
    with device.force_choice(CHOICES["1 lane"]):
        y, _, report = CASES[case][0](*moved(inputs, where))
    assert (y.cpu() - truth[0]).abs().max() <= 1e-6
    assert report[0] > 3 or case == "gru4"  # has no kernel but the sequential one in float64


@on("case, choice", all_of(CASES, CHOICES), [("gru1", "8 lanes"), ("gru1", "sequential")])
def test_the_report_has_iterations_and_the_last_correction(where, case, choice):
    inputs = moved(problem(case, 500, 7, torch.float32, 1.0)[0], where)
    with device.force_choice(CHOICES[choice]):
        *_, report = CASES[case][0](*inputs)
    assert report.device.type == where.type
    iterations, correction = int(report[0]), float(report[1].view(torch.float32))
    if choice == "sequential":
        assert (iterations, correction) == (0, 0)
    else:
        assert iterations >= 1 and 0 <= correction <= device.TOLERANCE


@on("choice", CHOICES, ["4 lanes"])
def test_what_is_not_a_number_goes_in_and_comes_out(where, choice):
    inputs = [x.clone() for x in problem("gru1", 100, 6, torch.float32, 1.0)[0][:3]]
    inputs[0][0, 50, :, 2] = torch.nan
    with device.force_choice(CHOICES[choice]):
        y, final, _ = gru(*moved(inputs, where), None, None)
    assert y[0, 50:, :, 2].isnan().all() and final[0, :, 2].isnan().all()
    y[0, 50:, :, 2] = 0
    assert not y.isnan().any()


@on("case, choice", all_of(CASES, CHOICES), [("lstm2", "8 lanes")])
def test_writing_into_a_slice_gives_the_same_and_nothing_else(where, case, choice):
    op, k = CASES[case]
    inputs = moved(problem(case, 33, 36, torch.float32, 1.0)[0], where)
    with device.force_choice(CHOICES[choice]), torch.no_grad():
        y, final, _ = op(*inputs)
        whole = torch.full((2, 50, k, 36), 7.0, device=where)
        _, again, _ = op(*inputs, out=whole[:, 6:39])
    assert torch.equal(whole[:, 6:39], y) and torch.equal(again, final)
    assert (whole[:, :6] == 7).all() and (whole[:, 39:] == 7).all()


@on("choice", CHOICES, ["sequential", "1 lane"])
def test_strided_inputs_and_gradients_that_are_missing(where, choice):
    inputs, cotangents, *_ = problem("lstm1", 33, 7, torch.float64, 1.0)
    inputs, cotangents = moved(inputs, where), moved(cotangents, where)
    leaves = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs[:3]]
    leaves = [x.requires_grad_() for x in leaves]
    with device.force_choice(CHOICES[choice]):
        for used in (0, 1):
            alone = [x if i == used else 0 * x for i, x in enumerate(cotangents)]
            _, gradients = run(CASES["lstm1"][0], inputs, alone)
            y = CASES["lstm1"][0](*leaves, *inputs[3:])[used]
            found = torch.autograd.grad(y, leaves, cotangents[used])
            for x, expected in zip(found, gradients, strict=True):
                assert relative_error(x, expected) <= TOLERANCE[torch.float64].gradient


@on("case, choice", all_of(CASES, CHOICES), [("gru1", "8 lanes"), ("lstm2", "sequential")])
def test_every_run_gives_the_same_bits(where, case, choice):
    inputs, cotangents, *_ = problem(case, 500, 7, torch.float32, 1.0)
    inputs, cotangents = moved(inputs, where), moved(cotangents, where)
    with device.force_choice(CHOICES[choice]):
        expected = run(CASES[case][0], inputs, cotangents)
        for seed in range(1, 3 if where.type == "cpu" else 20):
            if where.type == "cpu":
                library.schedule(seed, 3)
            assert same(run(CASES[case][0], inputs, cotangents), expected)


@everywhere
def test_no_sequence_at_all(where):
    inputs = moved(problem("gru1", 33, 7, torch.float32, 1.0)[0], where)
    y, final, _ = gru(*(inputs[i][:0] if i != 1 else inputs[i] for i in range(5)))
    assert y.shape == (0, 33, 1, 7) and final.shape == (0, 1, 7)


@on("name", ("gru", "lstm"), [])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operators_are_well_formed(where, name):
    op = CASES[f"{name}1"][0]
    inputs = moved(problem(f"{name}1", 33, 7, torch.float64, 1.0)[0], where)
    torch.library.opcheck(op.into, (inputs[0].new_zeros(2, 33, 1, 7), *inputs))
    y, memory, final, _ = op.forward(*inputs)
    torch.library.opcheck(op.backward, (y, final, y, memory, *inputs))
    differentiable = [x.requires_grad_() for x in inputs[:3]]
    torch.library.opcheck(op.forward, (*differentiable, *inputs[3:]))


@on(
    "size, steps, lanes, reverse, dtype",
    all_of((1, 2, 4), (1, 33, 700, 70_000), device.LANES, (False, True), DTYPES[:2]),
    [(1, 700, 32, True, torch.float32), (2, 33, 4, False, torch.float64)],
)
def test_scan(where, size, steps, lanes, reverse, dtype):
    a = torch.randn(2, steps, size, size, 5, dtype=torch.float64) / size
    b, h0 = torch.randn(2, steps, size, 5).double(), torch.randn(2, size, 5).double()
    if size == 1:
        a, b, h0 = a[:, :, 0, 0].clamp(-1, 1), b[:, :, 0], h0[:, 0]
    else:
        a = a / math.sqrt(8)
    values = [x.to(dtype).to(where).requires_grad_() for x in (a, b, h0)]
    with device.force_choice(device.Choice(device.PARALLEL, lanes)):
        h = scan(*values, reverse=reverse)
        gradients = torch.autograd.grad(h.square().sum(), values)
    leaves = [x.detach().double().requires_grad_() for x in values]
    with library.force_backend(library.REFERENCE):
        truth = scan(*leaves, reverse=reverse)
        expected = torch.autograd.grad(truth.square().sum(), leaves)
    assert relative_error(h.double(), truth) <= TOLERANCE[dtype].value
    for x, y in zip(gradients, expected, strict=True):
        assert relative_error(x.double(), y) <= TOLERANCE[dtype].gradient


@on("lanes", device.LANES, [32])
def test_products_that_overflow(where, lanes):
    """A zero state times an infinite product of slopes is zero; so it is in the loop."""
    a, b = torch.full((1, 900, 3), 1e30, device=where), torch.zeros(1, 900, 3, device=where)
    b[:, 880:] = 1e-30
    with device.force_choice(device.Choice(device.PARALLEL, lanes)):
        h = scan(a, b)
    truth = scan_loop(a, b)
    assert torch.equal(h[:, :880], truth[:, :880])
    assert torch.equal(h.isfinite(), truth.isfinite())
