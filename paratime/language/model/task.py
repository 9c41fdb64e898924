"""Training and scoring of a language model."""

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.data.split import warn_of_another
from paratime.language.data.windows import BLANK
from paratime.language.model.metrics import LanguageScores
from paratime.language.model.mup import WidthTransfer
from paratime.language.model.network import LanguageNetwork
from paratime.language.tokenizers.base import describe_tokenizer
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task
from paratime.training.batches.sharing import mean_of_all
from paratime.training.carry import Carry
from paratime.training.predictions import check_rows


class LanguageTask(LanguageNetwork, Task):  # type: ignore[misc]  # device is a property
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

    def build(self, spec: TokenSpec) -> None:
        """Build the network, and the scores of its predictions."""
        super().build(spec)
        self.val_scores, self.test_scores = LanguageScores(), LanguageScores()

    def blocks(self) -> Iterable[nn.Module]:
        """Return the blocks of the encoder."""
        return self.encoder.blocks

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups, with learning rates for this width."""
        groups = super().parameter_groups()
        if self.transfer is None:
            return groups
        return self.transfer.groups(groups, self.encoder.width, self.lr)

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of tokens in a batch."""
        return batch["inputs"].numel()

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
        count = nats.new_tensor(nats.numel())
        share = mean_of_all(count, count)  # of this process in the targets of all, 1 on average
        bits = mean_of_all(nats.sum(), batch["num_bytes"].sum()) / math.log(2)
        shown = {"loss": share * nats.mean(), "bits_per_byte": bits}
        self.log_step(shown, shown=tuple(shown))
        return share * loss

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
        """Refuse a checkpoint of another vocabulary or model; say if its corpus was another."""
        saved = TokenSpec.saved_in(checkpoint.get("hyper_parameters", {}))
        if self.is_built and saved is not None:
            self._check_same(saved)
        super().on_load_checkpoint(checkpoint)

    def _check_same(self, saved: TokenSpec) -> None:
        if self.global_rank == 0:
            warn_of_another(saved.corpus, self.spec.corpus)
        for name in ("vocab_size", "tokenizer"):
            ours = getattr(self.spec, name)
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
        scores.update(self._nats(batch)[batch["targets"] != BLANK], batch["num_bytes"])

    def _nats(self, batch: dict[str, Tensor]) -> Tensor:
        known = batch | {"targets": batch["targets"].clamp(min=0)}
        _, nats, state = self.losses(known, self.scored.before(batch))
        self.scored.keep(state, batch, batch["inputs"].shape[1])
        return nats

    def _log(self, split: str, scores: LanguageScores) -> None:
        self.log_scores(split, scores.compute(), shown=("bits_per_byte",))
        scores.reset()
