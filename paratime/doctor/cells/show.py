"""The text of the kernel that is made of a cell."""

from typing import Any

from paratime.doctor.cells.subject import build_cell


def run(
    cell: str,
    input_size: int = 16,
    hidden_size: int = 32,
    options: dict[str, Any] | None = None,
) -> None:
    """Print the kernel that is made of a cell's step: its step, its Jacobian and its gradient.

    Comments name the line of code that each value comes from.

    Args:
        cell: Its class, MODULE:CLASS, or a name of paratime.cells.
        input_size: Width of its input.
        hidden_size: Width of its output.
        options: Its other arguments, as {block_size: 4}.
    """
    import torch

    from paratime.codegen.functor import plan_of
    from paratime.codegen.printing import print_functor

    made = build_cell(cell, input_size, hidden_size, options or {})
    plan = plan_of(made, made.drive(torch.zeros(1, 1, input_size)))
    print(print_functor(plan.functor, plan.memory or 0, lines_of_code=True), end="")
