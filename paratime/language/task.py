"""Training and evaluation of a language model."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from paratime.errors import InputError
from paratime.language.metrics import LanguageScores
from paratime.layers.encoder import Encoder
from paratime.task import AdamW, Task


class LanguageTask(Task):
    """Next-token prediction: embedding, encoder, linear head.

    Args:
        encoder: The encoder; its width is the model's.
        vocab_size: Number of token ids; the command line takes it from the data.
        tokenizer: Description of the tokenizer, kept in checkpoints; likewise from the data.
        optimizer: Optimiser and schedule.
        z_loss: Weight of the squared log partition function (arXiv 2204.02311), which keeps
            logits from drifting.

    Raises:
        InputError: ``vocab_size`` is missing.
    """

    unit = "tokens"

    def __init__(
        self,
        encoder: Encoder,
        vocab_size: int | None = None,
        tokenizer: dict[str, Any] | None = None,
        optimizer: AdamW = AdamW(),  # noqa: B008 (frozen)
        z_loss: float = 1e-4,
    ) -> None:
        super().__init__(optimizer)
        self.save_plain_hyperparameters()
        if not vocab_size:
            remedy = "use data with tokens (TokenData), or pass vocab_size"
            raise InputError("vocab_size", "the number of token ids", str(vocab_size), remedy)
        self.tokenizer, self.z_loss = tokenizer, z_loss
        self.embedding = nn.Embedding(vocab_size, encoder.width)
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=encoder.width**-0.5)
        self.val_scores, self.test_scores = LanguageScores(), LanguageScores()

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

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of tokens in a batch."""
        return batch["inputs"].numel()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, and log it with bits per byte."""
        logits = self(batch["inputs"], reset=batch["reset"])[0].float()
        loss = functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
        nats_per_byte = loss.detach() * self.count(batch) / batch["num_bytes"].sum()
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/bits_per_byte", nats_per_byte / math.log(2), prog_bar=True)
        return loss + self.z_loss * logits.logsumexp(-1).square().mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of the validation documents."""
        self._score(self.val_scores, batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of the test documents."""
        self._score(self.test_scores, batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the log-probability of each target, (B, T), in nats."""
        return self._log_likelihood(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation documents."""
        self._log_scores("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test documents."""
        self._log_scores("test", self.test_scores)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another vocabulary, or of another model."""
        saved = checkpoint.get("hyper_parameters", {})
        ours = {"vocab_size": self.head.out_features, "tokenizer": self.tokenizer}
        for name, value in ours.items():
            if saved.get(name, value) != value:
                expected = f"{saved[name]}, as in the checkpoint"
                remedy = "use the tokenizer that the checkpoint was trained with"
                raise InputError(f"{name} of the data", expected, str(value), remedy)
        super().on_load_checkpoint(checkpoint)

    def _score(self, scores: LanguageScores, batch: dict[str, Tensor]) -> None:
        loss = -self._log_likelihood(batch).mean()
        scores.update(loss, batch["targets"].numel(), batch["num_bytes"])

    def _log_likelihood(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self(batch["inputs"], reset=batch["reset"])[0].float()
        return -functional.cross_entropy(logits.transpose(1, 2), batch["targets"], reduction="none")

    def _log_scores(self, split: str, scores: LanguageScores) -> None:
        for name, value in scores.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "bits_per_byte")
        scores.reset()
