"""Training and evaluation of a language model."""

import math
from typing import Any

from torch import Tensor, nn

from paratime.errors import InputError
from paratime.language.model.fsdp import data_mesh, shard_
from paratime.language.model.loss import next_token_loss
from paratime.language.model.metrics import LanguageScores
from paratime.language.model.mup import WidthTransfer
from paratime.language.tokenizers.base import describe
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task
from paratime.training.carry import Carry


class LanguageTask(Task):
    """Next-token prediction: embedding, encoder, linear head.

    Args:
        encoder: The encoder; its width is the model's.
        vocab_size: Number of token ids; the command line takes it from the data.
        tokenizer: Description of the tokenizer, kept in checkpoints; likewise from the data.
        optimizer: Optimiser and schedule.
        z_loss: Weight of the squared log partition function (arXiv 2204.02311), which keeps
            logits from drifting.
        tied: Whether the head's weight is the embedding's.
        transfer: Width at which rates were found, to use them at another one.

    Raises:
        InputError: ``vocab_size`` is missing, or tied weights are to be scaled by width.
    """

    unit = "tokens"

    def __init__(
        self,
        encoder: Encoder,
        vocab_size: int | None = None,
        tokenizer: dict[str, Any] | None = None,
        optimizer: AdamW = AdamW(),  # noqa: B008 (frozen)
        z_loss: float = 1e-4,
        tied: bool = False,
        transfer: WidthTransfer | None = None,
    ) -> None:
        super().__init__(optimizer)
        self.save_plain_hyperparameters()
        if not vocab_size:
            remedy = "use data with tokens (TokenData), or pass vocab_size"
            raise InputError("vocab_size", "the number of token ids", str(vocab_size), remedy)
        if tied and transfer is not None:
            remedy = "leave one of them out"
            raise InputError("tied", "a head of its own, to transfer widths", "tied", remedy)
        self.tokenizer, self.z_loss, self.transfer = tokenizer, z_loss, transfer
        self.embedding = nn.Embedding(vocab_size, encoder.width)
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=encoder.width**-0.5)
        if tied:
            self.head.weight = self.embedding.weight
        if transfer is not None:
            transfer.initialise_(encoder, self.embedding, self.head)
        self.carry, self.scored = Carry(), Carry()
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

    def configure_model(self) -> None:
        """Shard the weights where the strategy is ModelParallelStrategy."""
        if self.device_mesh is not None:
            shard_(self, data_mesh(self.device_mesh))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups, with the rates of this width."""
        groups = super().parameter_groups()
        if self.transfer is None:
            return groups
        return self.transfer.groups(groups, self.encoder.width, self.lr)

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of tokens in a batch."""
        return batch["inputs"].numel()

    def losses(self, batch: dict[str, Tensor], state: Any = None) -> tuple[Tensor, Tensor, Any]:
        """Return the loss to minimise, the nats of each target (B, T), and the state at the end.

        Logits are computed a few rows at a time, see ``next_token_loss``.
        """
        y, state = self.encoder(self.embedding(batch["inputs"]), state, reset=batch["reset"])
        rows, targets = y.flatten(0, 1), batch["targets"]
        loss, nats = next_token_loss(rows, self.head.weight, targets.flatten(), self.z_loss)
        return loss, nats.view_as(targets), state

    def flops(self) -> int:
        """Return 6 operations a token for each weight that it is multiplied by.

        Two are a product and a sum of the forward pass, four those of the backward pass. What
        attention does with other tokens is not counted, nor is what ``recompute`` does again.
        """
        weights = (*self.encoder.parameters(), self.head.weight)
        return 6 * sum(p.numel() for p in weights)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise, and log it without its z-loss, and as bits per byte.

        A batch that goes on where the last one ended begins from its state.
        """
        loss, nats, state = self.losses(batch, self.carry.before(batch))
        self.carry.keep(state, batch, batch["inputs"].shape[1])
        bits = nats.sum() / batch["num_bytes"].sum() / math.log(2)
        self.log("train/loss", nats.mean(), prog_bar=True)
        self.log("train/bits_per_byte", bits, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of the validation documents."""
        self._score(self.val_scores, batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of the test documents."""
        self._score(self.test_scores, batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the log-probability of each target, (B, T), in nats."""
        return -self._nats(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation documents."""
        self._log_scores("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test documents."""
        self._log_scores("test", self.test_scores)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state that the next batch may go on from."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried_state"] = self.carry.kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another vocabulary, or of another model."""
        saved = checkpoint.get("hyper_parameters", {})
        ours = {"vocab_size": self.head.out_features, "tokenizer": self.tokenizer}
        for name, value in ours.items():
            if saved.get(name, value) != value:
                theirs, got = (
                    describe(x) if isinstance(x, dict) else x for x in (saved[name], value)
                )
                remedy = "use the tokenizer that the checkpoint was trained with"
                expected = f"{theirs}, as in the checkpoint"
                raise InputError(f"{name} of the data", expected, str(got), remedy)
        super().on_load_checkpoint(checkpoint)
        self.carry.kept = checkpoint.get("carried_state")

    def _score(self, scores: LanguageScores, batch: dict[str, Tensor]) -> None:
        nats = self._nats(batch)
        scores.update(nats.mean(), nats.numel(), batch["num_bytes"])

    def _nats(self, batch: dict[str, Tensor]) -> Tensor:
        _, nats, state = self.losses(batch, self.scored.before(batch))
        self.scored.keep(state, batch, batch["inputs"].shape[1])
        return nats

    def _log_scores(self, split: str, scores: LanguageScores) -> None:
        for name, value in scores.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "bits_per_byte")
        scores.reset()
