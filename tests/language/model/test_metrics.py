"""Scores of language models."""

import math

import pytest
import torch

from paratime.language.model.metrics import LanguageScores


def test_scores_are_totals_over_unequal_batches():
    scores = LanguageScores()
    scores.update(torch.ones(30), torch.tensor([20, 9]))
    scores.update(2 * torch.ones(10), torch.tensor([10]))
    values = scores.compute()
    assert values["loss"] == pytest.approx(50 / 40)
    assert values["perplexity"] == pytest.approx(math.exp(50 / 40))
    assert values["bits_per_byte"] == pytest.approx(50 / math.log(2) / 39)
