"""Where documents come from."""

from paratime.language.data.corpus.shards import Prepared
from paratime.language.data.sources.base import Document, InMemory, Source, Splits
from paratime.language.data.sources.bundled import PythonReference, Quickstart, Shakespeare
from paratime.language.data.sources.text import HuggingFace, JsonLines, Parquet, TextFiles
from paratime.language.data.sources.tokens import LitData, TokenFiles

SOURCES = (
    *(Quickstart, Shakespeare, PythonReference),
    *(TextFiles, JsonLines, Parquet, HuggingFace),
    *(TokenFiles, LitData, Prepared, Splits),
)
"""Sources that every command line may name without their modules."""

__all__ = ["SOURCES", "Document", "InMemory", "Source", *(source.__name__ for source in SOURCES)]
