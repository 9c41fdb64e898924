"""The tables of the README, in Markdown."""

import pandas as pd

from paratime.compare import pipes

SCORES = {
    "one_step": ("one step", ".3f"),
    "nrmse@10": ("nRMSE, 10 steps", ".3f"),
    "nrmse@50": ("50 steps", ".2f"),
    "valid": ("valid time", ".2f"),
    "variance": ("variance", ".2f"),
    "histogram": ("histogram", ".3f"),
    "spectrum": ("spectrum", ".3f"),
    "left_range": ("left", ".0%"),
    "MASE": ("MASE", ".3f"),
    "mean_wQL": ("mean wQL", ".4f"),
    "coverage_80": ("coverage 80 %", ".1%"),
    "coverage_95": ("coverage 95 %", ".1%"),
}
"""Columns of ``results.csv``, of which a data set has some: how they are headed and written."""

SOLVES = {
    "newton": ("`Newton()`", ".0f"),
    "newton_alone": ("alone", ".0f"),
    "newton_1_alone": ("chunk 1, alone", ".0f"),
    "newton_loop": ("steps left to the loop", ".0%"),
}
RANGED = "valid"
"""The column whose values by seed are shown from the least to the greatest."""


def scores(rows: pd.DataFrame) -> str:
    """Return means over seeds on one data set, a line a model."""
    shown = {name: column for name, column in SCORES.items() if rows[name].notna().any()}
    lines = [["model", "seeds", *(head for head, _ in shown.values())]]
    for model, runs in rows.groupby("model", sort=False):
        cells = (_mean(runs[name], form) for name, (_, form) in shown.items())
        lines.append([str(model), str(len(runs)), *cells])
    return pipes(lines)


def solves(table: pd.DataFrame) -> str:
    """Return the most iterations over seeds, a line a data set and model."""
    lines = [["data", "model", *(head for head, _ in SOLVES.values())]]
    solved = table.dropna(subset=["newton"]).groupby(["data", "model"], sort=False)
    for key, runs in solved:
        most = (f"{runs[name].max():{form}}" for name, (_, form) in SOLVES.items())
        lines.append([*key, *most])
    return pipes(lines)


def _mean(values: pd.Series, form: str) -> str:
    if values.isna().all():
        return ""
    mean = f"{values.mean():{form}}"
    if values.name != RANGED or len(values) == 1:
        return mean
    return f"{mean} ({values.min():{form}} to {values.max():{form}})"
