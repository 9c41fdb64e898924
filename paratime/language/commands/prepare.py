"""``paratime language prepare``: tokenises a source into a folder."""

import os
from pathlib import Path
from typing import Any

from paratime.language.data.corpus.builder import SHARD_TOKENS, CorpusBuilder
from paratime.language.data.corpus.shards import manifest
from paratime.language.data.sources.base import Source
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.base import TokenizerRecipe
from paratime.language.tokenizers.characters import ByteTokenizer


def run(
    source: Source,
    out: str,
    tokenizer: TokenizerRecipe = ByteTokenizer(),  # noqa: B008 (immutable)
    hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
    processes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
) -> None:
    """Tokenise documents once, into a folder that --data.source PreparedCorpus reads.

    An interrupted run continues when the same command is given again.

    Args:
        source: The documents; --source.help TextFiles shows the options of one source.
        out: Folder to write: new, empty, or that of an interrupted run.
        tokenizer: Text to ids; --tokenizer.help BPE shows the options of one tokenizer.
        hold_out: Documents held out for validation and testing.
        processes: Number of processes that tokenise; one per processor by default.
        shard_tokens: Tokens per file.
    """
    builder = CorpusBuilder(
        source,
        tokenizer,
        hold_out,
        processes=processes or _processors(),
        shard_tokens=shard_tokens,
    )
    print(corpus_table(builder.write(Path(out))))


def _processors() -> int:
    """Return the number of processors that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # of Linux
    return len(usable(0)) if usable else os.cpu_count() or 1


def corpus_table(folder: Path) -> str:
    """Return the sizes of a corpus as an aligned table."""
    about = manifest(folder)
    rows = [f"{'split':<10} {'documents':>12} {'tokens':>16} {'bytes':>16} {'bytes/token':>12}"]
    rows += [_row(split, entry) for split, entry in about["splits"].items()]
    return "\n".join([*rows, f"{'tokenizer':<10} {about['tokenizer']}", f"{'folder':<10} {folder}"])


def _row(split: str, entry: dict[str, Any]) -> str:
    counts = f"{entry['documents']:>12,} {entry['tokens']:>16,} {entry['bytes']:>16,}"
    return f"{split:<10} {counts} {entry['bytes'] / max(1, entry['tokens']):>12.3f}"
