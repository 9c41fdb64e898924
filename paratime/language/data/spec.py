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
        context_length: Tokens of the windows of training, if they are known.
        corpus: The documents of each split, as ``Inventory.described`` returns them, if they are
            known.
    """

    data: ClassVar[str] = "tokens (TokenData)"

    vocab_size: int
    tokenizer: dict[str, Any] | None = None
    context_length: int | None = None
    corpus: dict[str, str] | None = None

    @classmethod
    def saved_in(cls, hyperparameters: Mapping[str, Any]) -> Self | None:
        """Return what a checkpoint holds; version 0.1 kept the values one by one."""
        spec = super().saved_in(hyperparameters)
        return cls.of(hyperparameters) if spec is None and "vocab_size" in hyperparameters else spec
