"""Where documents come from."""

from paratime.language.plays import PythonReference, Quickstart, Shakespeare
from paratime.language.shards import Prepared
from paratime.language.source import Document, InMemory, Source, Splits
from paratime.language.text_sources import HuggingFace, JsonLines, Parquet, TextFiles
from paratime.language.token_sources import LitData, TokenFiles

SOURCES = (
    *(Quickstart, Shakespeare, PythonReference),
    *(TextFiles, JsonLines, Parquet, HuggingFace),
    *(TokenFiles, LitData, Prepared, Splits),
)
"""Sources that every command line may name without their modules."""

__all__ = ["SOURCES", "Document", "InMemory", "Source", *(source.__name__ for source in SOURCES)]
