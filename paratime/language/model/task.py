"""Training and scoring of a language model."""

import math
from typing import Any

from torch import Tensor, nn

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.model.fsdp import data_mesh, shard_
from paratime.language.model.loss import next_token_loss
from paratime.language.model.metrics import LanguageScores
from paratime.language.model.mup import WidthTransfer
from paratime.language.tokenizers.base import Tokenizer, describe_tokenizer
from paratime.language.tokenizers.catalog import tokenizer_from_spec
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task
from paratime.training.carry import Carry
from paratime.training.predictions import check_rows


class LanguageTask(Task):
    """Next-token prediction: embedding, encoder, linear head.

    Args:
        encoder: The encoder; its width is the model's.
        spec: The vocabulary; by default that of the trainer's data.
        optimizer: Optimiser and schedule.
        z_loss: Weight of the squared log partition function (arXiv 2204.02311), which keeps
            logits from drifting.
        tied: Whether the head's weight is the embedding's.
        transfer: Width at which the learning rate was tuned, to use it at another one.

    Raises:
        InputError: Tied weights are to be scaled by width.
    """

    unit = "tokens"
    spec_type = TokenSpec
    spec: TokenSpec

    def __init__(
        self,
        encoder: Encoder,
        spec: TokenSpec | None = None,
        optimizer: AdamW = AdamW(),  # noqa: B008 (frozen)
        z_loss: float = 1e-4,
        tied: bool = False,
        transfer: WidthTransfer | None = None,
    ) -> None:
        super().__init__(optimizer)
        self.save_plain_hyperparameters()
        if tied and transfer is not None:
            raise InputError(
                "tied", "a head of its own, to transfer widths", "tied", "leave one of them out"
            )
        self.z_loss, self.tied, self.transfer = z_loss, tied, transfer
        self.scored = Carry()
        self._given = (encoder,)  # a module only between embedding and head
        if spec is not None:
            self.specify(spec)

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
        """Build the network; shard its weights where the strategy is ModelParallelStrategy."""
        super().configure_model()
        if self.device_mesh is not None:
            shard_(self, self.encoder.blocks, data_mesh(self.device_mesh))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups, with learning rates for this width."""
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
        """Return 6 operations per token for each weight that it is multiplied by.

        A product and a sum in the forward pass, and twice as many in the backward pass. Attention
        to other tokens, and recomputation, are not counted.
        """
        weights = (*self.encoder.parameters(), self.head.weight)
        return 6 * sum(p.numel() for p in weights)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise; log it without z-loss, and as bits per byte.

        A batch that continues the previous one begins with its state.
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
        found = -self._nats(batch)
        check_rows("log-probabilities", found.isfinite(), f"batch {batch_idx} window")
        return found

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation documents."""
        self._log("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test documents."""
        self._log("test", self.test_scores)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another vocabulary, or of another model."""
        saved = TokenSpec.saved_in(checkpoint.get("hyper_parameters", {}))
        if self.is_built and saved is not None:
            self._check_same(saved)
        super().on_load_checkpoint(checkpoint)

    def _check_same(self, saved: TokenSpec) -> None:
        for name, ours in vars(self.spec).items():
            if (theirs := getattr(saved, name)) != ours:
                was, now = (
                    describe_tokenizer(x) if isinstance(x, dict) else str(x) for x in (theirs, ours)
                )
                raise InputError(
                    f"{name} of the data",
                    expected=f"{was}, as in the checkpoint",
                    got=now,
                    remedy="use the tokenizer that the checkpoint was trained with",
                )

    def _score(self, scores: LanguageScores, batch: dict[str, Tensor]) -> None:
        nats = self._nats(batch)
        scores.update(nats.mean(), nats.numel(), batch["num_bytes"])

    def _nats(self, batch: dict[str, Tensor]) -> Tensor:
        _, nats, state = self.losses(batch, self.scored.before(batch))
        self.scored.keep(state, batch, batch["inputs"].shape[1])
        return nats

    def _log(self, split: str, scores: LanguageScores) -> None:
        self.log_scores(split, scores.compute(), shown=("bits_per_byte",))
        scores.reset()


def tokenizer_of(task: LanguageTask) -> Tokenizer:
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
