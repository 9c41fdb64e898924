"""``paratime language prepare``: from a source to tokens on disk."""

import os
from pathlib import Path
from typing import Any

from paratime.language.data.corpus.builder import SHARD, Preparation
from paratime.language.data.corpus.shards import manifest
from paratime.language.data.sources.base import Source
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.base import Recipe
from paratime.language.tokenizers.characters import ByteTokenizer


def prepare(
    source: Source,
    out: str,
    tokenizer: Recipe = ByteTokenizer(),  # noqa: B008 (immutable)
    hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
    processes: int | None = None,
    shard_tokens: int = SHARD,
) -> None:
    """Tokenise documents once, into a folder that --data.source Prepared reads.

    A run that was stopped goes on where it was when the same command is given again.

    Args:
        source: Where the documents come from; --source.help TextFiles shows the options of one.
        out: Folder to write, new or empty; a run that was stopped goes on in it.
        tokenizer: Text to ids; --tokenizer.help BPE shows the options of one.
        hold_out: What is held out for validation and testing.
        processes: How many tokenise; as many as there are processors by default.
        shard_tokens: Tokens a file.
    """
    preparation = Preparation(
        source,
        tokenizer,
        hold_out,
        processes=processes or len(os.sched_getaffinity(0)),
        shard_tokens=shard_tokens,
    )
    print(summary(preparation.write(Path(out))))


def summary(folder: Path) -> str:
    """Return an aligned table of what is in a corpus."""
    about = manifest(folder)
    rows = [f"{'split':<10} {'documents':>12} {'tokens':>16} {'bytes':>16} {'bytes/token':>12}"]
    rows += [_row(split, entry) for split, entry in about["splits"].items()]
    return "\n".join([*rows, f"{'tokenizer':<10} {about['tokenizer']}", f"{'folder':<10} {folder}"])


def _row(split: str, entry: dict[str, Any]) -> str:
    numbers = f"{entry['documents']:>12,} {entry['tokens']:>16,} {entry['bytes']:>16,}"
    return f"{split:<10} {numbers} {entry['bytes'] / max(1, entry['tokens']):>12.3f}"
