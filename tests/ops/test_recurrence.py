"""The fused recurrences: every backend against the loop and its gradient by autograd."""

from functools import cache

import pytest
import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops import gated
from paratime.ops.native import library
from paratime.ops.operator import check_tensor
from paratime.ops.recurrence import Recurrence, gru, lstm
from paratime.testing import TOLERANCE, relative_error

CASES = {
    "gru1": (gru, 1),
    "gru2": (gru, 2),
    "gru4": (gru, 4),
    "gru8": (gru, 8),
    "lstm1": (lstm, 1),
    "lstm2": (lstm, 2),
    "lstm4": (lstm, 4),
    "lstm8": (lstm, 8),
}
CHANNELS = (1, 7, 33, 160)
"""Less than a vector, odd, a vector and one, and more than two tiles of lanes."""

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIZES = {"one step": (2, 1), "sequences": (3, 37), "no batch": (0, 5)}


def problem(
    op: Recurrence, k: int, channels: int, dtype: torch.dtype, batch: int = 3, steps: int = 37
) -> list[Tensor | None]:
    """Draw u, weight, h0, reset and lengths."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    rows, weights = (k, 3 * k * k) if op is gru else (2 * k, 3 * k * k + 2 * k)
    u = torch.randn(batch, steps, 3 * k, channels, dtype=torch.float64).to(dtype)
    weight = (torch.randn(weights, channels, dtype=torch.float64) / k).to(exact)
    h0 = torch.randn(batch, rows, channels, dtype=torch.float64).tanh().to(exact)
    reset = torch.rand(batch, steps) < 0.1
    lengths = torch.randint(0, steps + 1, (batch,))
    return [u, weight, h0, reset, lengths]


def by_autograd(
    op: Recurrence, inputs: list[Tensor | None]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return y and the final state, random gradients for them, and those of u, weight and h0.

    Everything that a test compares with comes from here: a loop over time with torch.where, in
    float64, differentiated by torch.
    """
    u, weight, h0 = (x.double().requires_grad_() for x in inputs[:3])
    reset, lengths = inputs[3:]
    k, h, ys = u.shape[2] // 3, h0, []
    for t in range(u.shape[1]):
        before = h if reset is None else torch.where(reset[:, t].view(-1, 1, 1), 0, h)
        now = step(op, u[:, t], weight, before)
        valid = torch.ones(()).bool() if lengths is None else (t < lengths).view(-1, 1, 1)
        h = torch.where(valid, now, h)
        ys.append(torch.where(valid, now[:, -k:], 0))
    outputs = [torch.stack(ys, dim=1), h]
    cotangents = [torch.randn_like(x).to(inputs[0].dtype).double() for x in outputs]
    gradients = torch.autograd.grad(outputs, (u, weight, h0), cotangents, allow_unused=True)
    found = [
        torch.zeros_like(x) if g is None else g
        for x, g in zip((u, weight, h0), gradients, strict=True)
    ]
    return [x.detach() for x in outputs], cotangents, found


def step(op: Recurrence, u: Tensor, weight: Tensor, h: Tensor) -> Tensor:
    k = u.shape[-2] // 3
    a = weight[: 3 * k * k].unflatten(0, (3, k, k))
    u = u.unflatten(-2, (3, k))
    if op is gru:
        return gated.gru_step(u, a, h)
    return gated.lstm_step(u, a, weight[3 * k * k :].unflatten(0, (2, k)), h)


def run(
    op: Recurrence, inputs: list[Tensor | None], cotangents: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    leaves = [x.clone().requires_grad_() for x in inputs[:3]]
    outputs = op(*leaves, *inputs[3:])[:2]
    weights = [g.to(x.dtype) for g, x in zip(cotangents, outputs, strict=True)]
    gradients = torch.autograd.grad(outputs, leaves, weights)
    return [x.detach() for x in outputs], list(gradients)


@cache
def solved(case: str, channels: int, size: str, dtype: torch.dtype, masks: str) -> tuple:
    """Return a problem and its truth, once for all backends."""
    torch.manual_seed(0)
    op, k = CASES[case]
    inputs = problem(op, k, channels, dtype, *SIZES[size])
    if masks == "plain":
        inputs[3:] = [None, None]
    return inputs, *by_autograd(op, inputs)


@pytest.mark.parametrize("masks", ("plain", "masks"))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_the_loop(case, channels, size, dtype, masks, backend):
    inputs, truth, cotangents, gradients = solved(case, channels, size, dtype, masks)
    found, found_gradients = run(CASES[case][0], inputs, cotangents)
    allowed = TOLERANCE[dtype]
    for x, y in zip(found, truth, strict=True):
        assert x.shape == y.shape
        assert x.numel() == 0 or (x.double() - y).abs().max() <= allowed.value
    for x, y in zip(found_gradients, gradients, strict=True):
        assert x.shape == y.shape
        assert x.numel() == 0 or relative_error(x.double(), y) <= allowed.gradient


@pytest.mark.parametrize("case", CASES)
def test_writing_into_a_slice_gives_the_same_and_nothing_else(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 33, torch.float32)
    with torch.no_grad():
        y, final, _ = op(*inputs)
        whole = torch.full((3, 50, k, 33), 7.0)
        _, again, _ = op(*inputs, out=whole[:, 6:43])
    assert torch.equal(whole[:, 6:43], y) and torch.equal(again, final)
    assert (whole[:, :6] == 7).all() and (whole[:, 43:] == 7).all()


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads_gives_the_same_bits(case):
    op, k = CASES[case]
    inputs = problem(op, k, 160, torch.float32, 5)
    cotangents = [torch.randn(5, 37, k, 160), torch.randn_like(inputs[2])]
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        results.append([x for part in run(op, inputs, cotangents) for x in part])
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


@pytest.mark.parametrize("case", CASES)
def test_strided_inputs_and_gradients_that_are_missing(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 7, torch.float64)
    leaves = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs[:3]]
    leaves = [x.requires_grad_() for x in leaves]
    for used in (0, 1):
        _, cotangents, _ = by_autograd(op, inputs)
        cotangents[1 - used].zero_()
        _, gradients = run(op, inputs, cotangents)
        y = op(*leaves, *inputs[3:])[used]
        found = torch.autograd.grad(y, leaves, cotangents[used])
        for x, expected in zip(found, gradients, strict=True):
            assert relative_error(x, expected) <= TOLERANCE[torch.float64].gradient


@pytest.mark.parametrize("case", CASES)
def test_a_reset_stops_what_is_not_finite(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 7, torch.float32)
    inputs[4] = None
    inputs[2].fill_(torch.nan)
    inputs[3][:, 0] = True
    truth, cotangents, gradients = by_autograd(
        op, [*inputs[:2], torch.zeros_like(inputs[2]), *inputs[3:]]
    )
    found, found_gradients = run(op, inputs, cotangents)
    assert (found[0] - truth[0]).abs().max() <= TOLERANCE[torch.float32].value
    for x, expected in zip(found_gradients, gradients, strict=True):
        assert relative_error(x.double(), expected) <= TOLERANCE[torch.float32].gradient


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_a_number_goes_in_and_comes_out(case, backend):
    op, k = CASES[case]
    u, weight, h0, _, _ = problem(op, k, 7, torch.float32)
    u[1, 3, :, 2] = torch.nan
    y, final, _ = op(u, weight, h0, None, None)
    assert y[1, 3:, :, 2].isnan().all() and final[1, :, 2].isnan().all()
    y[1, 3:, :, 2] = 0
    assert not y.isnan().any()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operators_are_well_formed(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 5, torch.float64, 2, 6)
    torch.library.opcheck(op.into, (torch.zeros(2, 6, k, 5).double(), *inputs))
    y, memory, final, _ = op.forward(*inputs)
    torch.library.opcheck(op.backward, (y, final, y, memory, *inputs))
    torch.library.opcheck(op.backward, (None, final, y, memory, *inputs))
    differentiable = [x.requires_grad_() for x in inputs[:3]]
    torch.library.opcheck(op.forward, (*differentiable, *inputs[3:]))
    torch.library.opcheck(op.forward, (*differentiable, None, None))


@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_second_derivatives_are_refused(case, backend):
    op, k = CASES[case]
    u, weight, h0, _, _ = problem(op, k, 5, torch.float64)
    y, *_ = op(u.requires_grad_(), weight, h0, None, None)
    (gradient,) = torch.autograd.grad(y.sum(), u, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"first derivatives only.*Sequential"):
        gradient.sum().backward()


@pytest.mark.parametrize("case", CASES)
def test_the_jacobian_in_the_header_is_that_of_the_step(case, capability):
    op, k = CASES[case]
    u, weight, h0, _, _ = problem(op, k, 33, torch.float64, 1, 4)
    h = torch.randn(4, *h0.shape[1:], dtype=torch.float64).tanh()
    rows = h.shape[1]
    found, jac = torch.empty_like(h), h.new_empty(4, rows, rows, 33)
    kernel = library.symbol(f"{case}_linearize_float64")
    library.call(kernel, 4, 33, u, weight, h, found, jac)
    h.requires_grad_()
    truth = step(op, u[0], weight, h)
    for i in range(rows):
        (row,) = torch.autograd.grad(truth[:, i].sum(), h, retain_graph=True)
        assert (jac[:, i] - row).abs().max() <= TOLERANCE[torch.float64].value
    assert (found - truth).abs().max() <= TOLERANCE[torch.float64].value


@pytest.mark.parametrize("case", ("gru2", "lstm2"))
@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (0, torch.zeros(3, 37, 7, 5), "u: expected (B, T, 3 K, C), got (3, 37, 7, 5)"),
        (1, torch.zeros(3, 5), "weight: expected torch.float64"),
        (1, torch.zeros(99, 5).double(), "got torch.float64 (99, 5); make it fit u"),
        (2, torch.zeros(3, 9, 5).double(), "h0: expected torch.float64"),
        (3, torch.zeros(3, 36).bool(), "reset: expected torch.bool (3, 37)"),
        (4, torch.zeros(3).int(), "lengths: expected torch.int64 (3,), got torch.int32"),
    ],
)
def test_inputs_that_do_not_fit(case, place, wrong, message):
    op, k = CASES[case]
    inputs = problem(op, k, 5, torch.float64)
    inputs[place] = wrong
    with pytest.raises(InputError) as error:
        op(*inputs)
    assert message in str(error.value)


def test_outputs_that_do_not_fit():
    inputs = problem(gru, 2, 5, torch.float64)
    overlapping = torch.zeros(1, 37, 2, 5).double().expand(3, -1, -1, -1)
    strided = torch.zeros(3, 37, 2, 10).double()[..., :5]
    for y in (torch.zeros(3, 36, 2, 5).double(), strided, overlapping):
        with pytest.raises(InputError, match="y: expected"):
            gru(*inputs, out=y)


@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_lengths_beyond_the_steps_are_the_steps(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 5, torch.float64)
    inputs[4] = torch.tensor([99, -3, 37])
    y, final, _ = op(*inputs)
    inputs[4] = torch.tensor([37, 0, 37])
    assert all(map(torch.equal, op(*inputs), (y, final)))


@pytest.mark.parametrize("case", CASES)
def test_a_state_far_outside_the_box_is_forgotten_exactly(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 5, torch.float32, 2, 3)
    inputs[1].zero_()
    inputs[2].fill_(1e7)
    inputs[0][:, 0, :k] = 100.0 if op is gru else -100.0  # z = 1: all is new; f = 0 likewise
    inputs[3:] = [None, None]
    truth, _, _ = by_autograd(op, inputs)
    y, *_ = op(*inputs)
    assert (y - truth[0]).abs().max() <= TOLERANCE[torch.float32].value


@pytest.mark.parametrize("case", ("gru1", "lstm2"))
def test_saved_tensors_that_come_back_with_other_strides(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 5, torch.float64)
    _, cotangents, _ = by_autograd(op, inputs)
    _, expected = run(op, inputs, cotangents)

    def unpack(x):
        return x.transpose(0, -1).contiguous().transpose(0, -1)

    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, unpack):
        _, found = run(op, inputs, cotangents)
    for x, y in zip(found, expected, strict=True):
        assert relative_error(x, y) <= TOLERANCE[torch.float64].gradient


@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_what_has_no_derivative_is_refused(case):
    op, k = CASES[case]
    u, *others = problem(op, k, 5, torch.float64)
    for transform in (torch.func.grad, torch.func.jacfwd):
        with pytest.raises(NotImplementedError, match="Sequential"):
            transform(lambda u: op(u, *others)[0].sum())(u)
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        dual = torch.autograd.forward_ad.make_dual(u, u)
        with pytest.raises(NotImplementedError, match="forward-mode"):
            op(dual, *others)


@pytest.mark.parametrize("case", ("gru1", "lstm1"))
def test_what_is_beyond_a_sequence_has_no_part_in_gradients(case, backend):
    op, k = CASES[case]
    inputs = problem(op, k, 7, torch.float32)
    steps = inputs[0].shape[1]
    inputs[4] = torch.full((inputs[0].shape[0],), steps // 2)
    inputs[0][:, steps // 2 :] = torch.nan
    cotangents = [torch.ones_like(x) for x in op(*inputs)[:2]]
    for x in [y for part in run(op, inputs, cotangents) for y in part]:
        assert x.isfinite().all()


@pytest.mark.parametrize("change", ("integers", "no weight", "another device"))
def test_what_a_kernel_could_not_read_is_refused(change, backend):
    op, k = CASES["gru1"]
    inputs = problem(op, k, 7, torch.float32)
    if change == "integers":
        inputs[0] = inputs[0].int()
    elif change == "no weight":
        inputs[1] = None
    if change == "another device":
        with pytest.raises(InputError, match=r"reset.*on cpu.*on meta"):
            check_tensor(
                "reset", torch.zeros(2, device="meta"), (2,), torch.float32, inputs[0].device
            )
    elif backend != library.REFERENCE:
        with pytest.raises(InputError, match=r"u: expected float32, float64.*with weight and h0"):
            op.forward(*inputs)
