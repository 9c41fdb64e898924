"""The data module for language models."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import DataLoader

from paratime.errors import InputError, check_at_least
from paratime.io.cache import cache_root
from paratime.language.data.corpus import shards
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.corpus.shards import PreparedCorpus
from paratime.language.data.sources.base import Source
from paratime.language.data.spec import TokenSpec
from paratime.language.data.split import HoldOut
from paratime.language.data.windows import ShuffledWindows, StreamedWindows, TokenWindows, unscored
from paratime.language.tokenizers.base import Tokenizer, TokenizerRecipe
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.training.base import DataModule
from paratime.training.batches.loading import ResumableLoader
from paratime.training.batches.samplers import contiguous_sampler, share_of
from paratime.training.batches.sharing import evaluation_loader

Mode = Literal["packed", "stream"]


class TokenData(DataModule):
    """Text as windows of tokens: documents packed end to end, state resets at their starts.

    Held-out documents are scored in whole windows; an incomplete window at the end of a split is
    dropped.

    Args:
        source: The documents.
        tokenizer: Text to ids; bytes by default. A ``PreparedCorpus`` has its own.
        context_length: Tokens per window.
        batch_size: Windows per batch.
        mode: How documents are arranged for training. ``packed``: in shuffled windows that begin
            with the initial state. ``stream``: each window continues the previous one and its state
            (truncated back-propagation through time), with documents in another order each epoch.
        hold_out: Documents held out for validation and testing. A ``PreparedCorpus`` has its own.
        cache_dir: Folder for tokenised corpora; ``$PARATIME_CACHE`` or ``~/.cache/paratime`` by
            default.
        seed: Seed of the order of training windows.
        num_workers: Number of processes that load batches. A single process tokenises; ``paratime
            language prepare`` uses several.

    Raises:
        InputError: There is no text, or less than one window (when the data is set up); or a
            ``PreparedCorpus`` is combined with options that it determines.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: TokenizerRecipe | None = None,
        context_length: int = 256,
        batch_size: int = 16,
        mode: Mode = "packed",
        hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
        cache_dir: str | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, seed=seed, num_workers=num_workers)
        if mode not in get_args(Mode):
            raise InputError(
                "mode", f"one of {', '.join(get_args(Mode))}", repr(mode), "correct it"
            )
        if isinstance(source, PreparedCorpus) and (tokenizer is not None or hold_out != HoldOut()):
            raise InputError(
                "source", "its tokenizer and splits", "others", "leave tokenizer and hold_out out"
            )
        self.source, self.mode = source, mode
        self.context_length, self.batch_size = context_length, batch_size
        self.seed, self.num_workers = seed, num_workers
        self.cache_dir = cache_dir
        self._recipe, self._hold_out = tokenizer or ByteTokenizer(), hold_out
        self._folder: Path | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; ``prepare_data`` has learned it, else it is learned now."""
        if isinstance(self.source, PreparedCorpus):
            return self.source.tokenizer()
        return self._builder.tokenizer(self._cached)

    @property
    def spec(self) -> TokenSpec:
        """The size of the vocabulary, the tokenizer, and what the corpus is, once it is made."""
        made = isinstance(self.source, PreparedCorpus) or self._folder is not None
        corpus = shards.manifest(self._corpus()).get("inventory") if made else None
        tokenizer = self.tokenizer
        return TokenSpec(tokenizer.vocab_size, tokenizer.spec(), self.context_length, corpus)

    def prepare_data(self) -> None:
        """Train the tokenizer, and tokenise the source into the cache, once."""
        self._corpus()

    def setup(self, stage: str) -> None:
        """Find the corpus, in every process."""
        self._corpus()

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training windows, arranged by the mode, in an order of seed and epoch."""
        windows: Any = self._windows("train")
        if self.mode == "stream":
            ids = shards.open_split(self._corpus(), "train")
            windows = StreamedWindows(windows, ids, ids.starts, length=self.context_length)
            sampler: Any = contiguous_sampler(
                len(windows), self.batch_size, self.seed, self.trainer
            )
        else:
            shuffled = ShuffledWindows(windows, self.context_length, self.seed)
            sampler = share_of(shuffled, self.batch_size, "windows", self.trainer)
        return ResumableLoader(
            windows, batch_size=self.batch_size, sampler=sampler, num_workers=self.num_workers
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

    def summary(self, batches: float) -> str:
        """Return what each split holds, and the batches of an epoch."""
        entries = shards.manifest(self._corpus())["splits"]
        columns = ("documents", "tokens", "bytes")
        lines = [f"{'split':<8}" + "".join(f" {name:>13}" for name in (*columns, "windows"))]
        for split, entry in entries.items():
            sizes = [entry[name] for name in columns]
            windows = max(0, entry["tokens"] - 1) // self.context_length
            lines.append(f"{split:<8}" + "".join(f" {size:>13,}" for size in [*sizes, windows]))
        of = f"{self.batch_size:,} windows of {self.context_length:,} tokens"
        return "\n".join([*lines, f"an epoch is {batches:,} batches of {of}"])

    @cached_property
    def _builder(self) -> CorpusBuilder:
        return CorpusBuilder(self.source, self._recipe, self._hold_out)

    @cached_property
    def _cached(self) -> Path:
        return cache_root(self.cache_dir) / "language" / self._builder.identity[:16]

    def _corpus(self) -> Path:
        """Return the corpus's folder; write it unless that was done before."""
        if isinstance(self.source, PreparedCorpus):
            return self.source.folder
        if self._folder is None:
            self._folder = self._builder.write(self._cached)
        return self._folder

    def _windows(self, split: str) -> TokenWindows:
        ids = shards.open_split(self._corpus(), split)
        return TokenWindows(ids, self.tokenizer, self.context_length, split=split)

    def _ordered(self, split: str) -> DataLoader[Any]:
        windows = self._windows(split)
        return evaluation_loader(
            windows,
            range(0, len(windows), self.context_length),
            unscored,
            self.trainer,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )
