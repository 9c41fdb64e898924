"""The sources by name, for command lines and configs."""

from paratime.language.data.corpus.shards import PreparedCorpus
from paratime.language.data.sources.base import Splits
from paratime.language.data.sources.bundled import PythonReference, Quickstart, Shakespeare
from paratime.language.data.sources.text import HuggingFace, JsonLines, Parquet, TextFiles
from paratime.language.data.sources.tokens import LitData, TokenFiles

TEXT_SOURCES = (
    *(Quickstart, Shakespeare, PythonReference),
    *(TextFiles, JsonLines, Parquet, HuggingFace),
    *(TokenFiles, LitData, PreparedCorpus, Splits),
)
"""Sources that the command line accepts by class name alone."""
