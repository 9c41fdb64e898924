"""Tokens: scores of held-out documents, and a text."""

from typing import Any

from lightning.pytorch.cli import LightningCLI

from paratime.compare.kind import Found, Kind
from paratime.errors import InputError
from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask

PROMPT = "ROMEO:\n"
WRITTEN = 300
"""Tokens of the text."""


class Tokens(Kind):
    """Language models."""

    task = LanguageTask
    headline = "bits_per_byte"
    unit = "tokens"
    what = (
        "Scores of the documents held out for testing; of as many batches of them as"
        " trainer.limit_test_batches says, where it is set."
    )

    def read(self, task: LanguageTask, batch: Any) -> None:
        """Compute the loss of a batch."""
        task.losses(batch)

    def evaluate(self, trained: LightningCLI) -> Found:
        """Return the scores of ``paratime test``, and what the model writes behind a prompt."""
        (scores,) = trained.trainer.test(trained.model, trained.datamodule, verbose=False)
        quality = {name: scores[f"test/{name}"] for name in (self.headline, "perplexity")}
        assert isinstance(trained.model, LanguageTask)
        title = f"prompt {PROMPT.strip()}"
        return quality, [{"kind": "text", "title": title, "text": _text(trained.model)}]


def _text(model: LanguageTask) -> str:
    """Return a prompt and what a model writes behind it, or why it cannot.

    It cannot where it has diverged, or where its tokenizer has no such characters.
    """
    try:
        return PROMPT + "".join(generate(model, PROMPT, Sampling(WRITTEN, seed=0)))
    except InputError as error:
        return f"No text: {error}."
