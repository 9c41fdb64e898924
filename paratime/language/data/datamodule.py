"""The data module of language models."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import DataLoader

from paratime.errors import InputError, check_at_least
from paratime.io.cache import cache_root
from paratime.language.data.corpus import shards
from paratime.language.data.corpus.builder import Preparation
from paratime.language.data.corpus.shards import Prepared
from paratime.language.data.sources.base import Source
from paratime.language.data.split import HoldOut
from paratime.language.data.windows import ShuffledWindows, StreamedWindows, Windows
from paratime.language.tokenizers.base import Recipe, Tokenizer
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.training.base import DataModule
from paratime.training.samplers import ResumableLoader, lanes

Mode = Literal["packed", "stream"]


class TokenData(DataModule):
    """Text as windows of tokens: documents packed end to end, state resets at their starts.

    Held-out documents are scored in whole windows; what is left at the end of a split, less than
    a window, is not.

    Args:
        source: Where the documents come from.
        tokenizer: Text to ids; bytes by default, or those of a ``Prepared`` source.
        context_length: Tokens a window.
        batch_size: Windows a batch.
        mode: How training lays out documents: ``packed``, in shuffled windows that begin with an
            empty state; ``stream``, each window behind the one before it, whose state goes on
            (truncated back-propagation through time), documents in another order each epoch.
        hold_out: What is held out for validation and testing; ``Prepared`` has its own.
        cache_dir: Folder for tokenised corpora; ``$PARATIME_CACHE`` or ``~/.cache/paratime`` by
            default.
        seed: Seed of the order of training windows.
        num_workers: Processes that load batches. This one tokenises, with a bar; more of them do in
            ``paratime language prepare``.

    Raises:
        InputError: No text, or less of it than one window (when the data is set up), or options
            that a ``Prepared`` source leaves no choice of.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Recipe | None = None,
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
        if isinstance(source, Prepared) and (tokenizer is not None or hold_out != HoldOut()):
            got, remedy = "others", "leave tokenizer and hold_out out"
            raise InputError("Prepared", "the tokenizer and the splits of its folder", got, remedy)
        self.source, self.mode = source, mode
        self.context_length, self.batch_size = context_length, batch_size
        self.seed, self.num_workers = seed, num_workers
        self.cache_dir = cache_root(cache_dir)
        self._recipe, self._hold_out = tokenizer or ByteTokenizer(), hold_out
        self._folder: Path | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; it is learned now, if the recipe says so and it was not done before."""
        if isinstance(self.source, Prepared):
            return self.source.tokenizer()
        return self._preparation.tokenizer(self._cached)

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
        """Return the training documents in an order that is f(seed, epoch), as the mode says."""
        windows: Any = self._windows("train")
        if self.mode == "stream":
            ids = shards.load(self._corpus(), "train")
            windows = StreamedWindows(windows, ids, ids.starts, self.context_length)
            order: Any = lanes(len(windows), self.batch_size, self.seed, self.trainer)
        else:
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

    @cached_property
    def _preparation(self) -> Preparation:
        return Preparation(self.source, self._recipe, self._hold_out)

    @cached_property
    def _cached(self) -> Path:
        return self.cache_dir / "language" / self._preparation.identity[:16]

    def _corpus(self) -> Path:
        """Return the corpus's folder, written now if it is not there."""
        if isinstance(self.source, Prepared):
            return Path(self.source.path)
        if self._folder is None:
            self._folder = self._preparation.write(self._cached)
        return self._folder

    def _windows(self, split: str) -> Windows:
        ids = shards.load(self._corpus(), split)
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
