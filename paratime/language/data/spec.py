"""What a language model must know of its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from paratime.training.spec import DataSpec


@dataclass(frozen=True)
class TokenSpec(DataSpec):
    """The tokens of a language model.

    Attributes:
        vocab_size: Number of token ids.
        tokenizer: Description of the tokenizer, as ``Tokenizer.spec`` returns it; None if there
            are only ids.
    """

    data: ClassVar[str] = "tokens (TokenData)"

    vocab_size: int
    tokenizer: dict[str, Any] | None = None

    @classmethod
    def saved_in(cls, hyperparameters: Mapping[str, Any]) -> Self | None:
        """Return what a checkpoint holds; version 0.1 kept the values one by one."""
        spec = super().saved_in(hyperparameters)
        return cls.of(hyperparameters) if spec is None and "vocab_size" in hyperparameters else spec
