"""What the config of a comparison accepts."""

import pytest

from paratime.compare.config import DomainConfig
from paratime.errors import InputError


def test_overrides_are_of_what_a_comparison_does_not_set(folder):
    with pytest.raises(InputError, match=r"overrides: expected .*got 'model.encoder.width'"):
        DomainConfig("tokens.yaml", 1, 8, 1, 8, {"model.encoder.width": 16})
