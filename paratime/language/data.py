"""The data module of language models."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from paratime.cache import cache_root
from paratime.errors import InputError
from paratime.language import corpus
from paratime.language.corpus import HoldOut
from paratime.language.sources import Source
from paratime.language.tokenizer import ByteTokenizer, Tokenizer
from paratime.language.windows import ShuffledWindows, Windows
from paratime.loader import ResumableLoader
from paratime.task import DataModule


class TokenData(DataModule):
    """Text as windows of tokens: documents packed end to end, state resets at their starts.

    Held-out documents are scored in whole windows; what is left at the end of a split, less than
    a window, is not.

    Args:
        source: Where the documents come from.
        tokenizer: Text to ids.
        context_length: Tokens a window.
        batch_size: Windows a batch.
        hold_out: What is held out for validation and testing.
        cache_dir: Folder for tokenised corpora; ``$PARATIME_CACHE`` or ``~/.cache/paratime`` by
            default.
        seed: Seed of the order of training windows.
        num_workers: Processes that load batches.

    Raises:
        InputError: No text, or less of it than one window (when the data is set up).
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer = ByteTokenizer(),  # noqa: B008 (immutable)
        context_length: int = 256,
        batch_size: int = 16,
        hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
        cache_dir: str | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError("batch_size", "at least 1", str(batch_size), "raise it")
        self.source, self.tokenizer, self.hold_out = source, tokenizer, hold_out
        self.context_length, self.batch_size = context_length, batch_size
        self.seed, self.num_workers = seed, num_workers
        self.cache_dir = cache_root(cache_dir)
        self._folder: Path | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The vocabulary's size and the tokenizer."""
        return {"vocab_size": self.tokenizer.vocab_size, "tokenizer": self.tokenizer.spec()}

    def prepare_data(self) -> None:
        """Tokenise the source into the cache, once."""
        self._corpus()

    def setup(self, stage: str) -> None:
        """Find the corpus, in every process."""
        self._corpus()

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled windows of the training documents; every epoch cuts them elsewhere."""
        windows = self._windows("train")
        order = ShuffledWindows(windows, self.context_length, self.seed)
        return ResumableLoader(
            windows,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the windows of the validation documents, in order."""
        return self._ordered("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the windows of the test documents, in order."""
        return self._ordered("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the windows of the test documents, in order."""
        return self._ordered("test")

    def _corpus(self) -> Path:
        """Return the corpus's folder; the source is read, and hashed, once a process."""
        if self._folder is None:
            root = self.cache_dir / "language"
            documents = self.source.documents()
            self._folder = corpus.prepare(documents, self.tokenizer, self.hold_out, root)
        return self._folder

    def _windows(self, split: str) -> Windows:
        ids = corpus.load(self._corpus(), split)
        return Windows(ids, self.tokenizer, self.context_length, split)

    def _ordered(self, split: str) -> DataLoader[Any]:
        windows = self._windows(split)
        positions = range(0, len(windows), self.context_length)
        return DataLoader(
            windows,
            batch_size=self.batch_size,
            sampler=positions,
            num_workers=self.num_workers,
        )
