"""The network of a language model: for training as a task, and afterwards without Lightning."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.model.loss import next_token_loss
from paratime.language.model.mup import WidthTransfer
from paratime.language.tokenizers.base import Tokenizer
from paratime.language.tokenizers.catalog import tokenizer_from_spec
from paratime.layers.encoder import Encoder


class LanguageNetwork(nn.Module):
    """Embedding, encoder and linear head.

    Attributes:
        spec: The vocabulary.
        z_loss: Weight of the squared log partition function in the loss.
        tied: Whether the head's weight is the embedding's.
        transfer: Width at which the learning rate was tuned.
        device: Where the weights are.
        specify: Builds the network for a vocabulary.
    """

    spec: TokenSpec
    z_loss: float
    tied: bool
    transfer: WidthTransfer | None
    device: torch.device
    specify: Callable[[TokenSpec], None]
    _given: tuple[Encoder]

    @property
    def tokenizer(self) -> dict[str, Any] | None:
        """Description of the tokenizer."""
        return self.spec.tokenizer

    def build(self, spec: TokenSpec) -> None:
        """Build embedding, encoder and head."""
        (encoder,) = self._given
        self.embedding = nn.Embedding(spec.vocab_size, encoder.width)
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, spec.vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=encoder.width**-0.5)
        if self.tied:
            self.head.weight = self.embedding.weight
        if self.transfer is not None:
            self.transfer.initialise_(encoder, self.embedding, self.head)

    def forward(
        self,
        inputs: Tensor,
        state: Any = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Map ids (B, T) to logits (B, T, vocab_size) of the next ids, and the state.

        See ``Mixer.forward`` for resets and lengths.
        """
        y, state = self.encoder(self.embedding(inputs), state, reset=reset, lengths=lengths)
        return self.head(y), state

    def step(self, token: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Map ids (B,) to logits (B, vocab_size) of the next ids, and the state."""
        y, state = self.encoder.step(self.embedding(token), state)
        return self.head(y), state

    def losses(self, batch: dict[str, Tensor], state: Any = None) -> tuple[Tensor, Tensor, Any]:
        """Return the loss to minimise, the nats of each target (B, T), and the state at the end.

        Logits are computed a few rows at a time, see ``next_token_loss``.
        """
        y, state = self.encoder(self.embedding(batch["inputs"]), state, reset=batch["reset"])
        rows, targets = y.flatten(0, 1), batch["targets"]
        loss, nats = next_token_loss(rows, self.head.weight, targets.flatten(), self.z_loss)
        return loss, nats.view_as(targets), state


class LanguageModel(LanguageNetwork):
    """The network of a trained ``LanguageTask``, without what only training needs.

    Args:
        encoder: As for the task, like the others.
        z_loss: Weight of the squared log partition function.
        tied: Whether the head's weight is the embedding's.
        transfer: Width at which the learning rate was tuned.
    """

    def __init__(
        self,
        encoder: Encoder,
        z_loss: float = 1e-4,
        tied: bool = False,
        transfer: WidthTransfer | None = None,
    ) -> None:
        super().__init__()
        self.z_loss, self.tied, self.transfer = z_loss, tied, transfer
        self._given = (encoder,)

    def specify(self, spec: TokenSpec) -> None:
        """Build the network for a vocabulary."""
        self.spec = spec
        self.build(spec)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the weights are."""
        return self.head.weight.device


def tokenizer_of(task: LanguageNetwork) -> Tokenizer:
    """Return a model's tokenizer.

    Raises:
        InputError: The model has none.
    """
    if task.tokenizer is None:
        raise InputError(
            "tokenizer",
            expected="a model that knows its tokenizer",
            got="None",
            remedy="give its TokenSpec a tokenizer",
        )
    return tokenizer_from_spec(task.tokenizer)
