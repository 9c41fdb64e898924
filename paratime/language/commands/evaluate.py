"""``paratime language evaluate``: the scores of a model on texts."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paratime.errors import InputError
from paratime.io import figures
from paratime.io.atomic import check_new, making
from paratime.io.frames import write_csv
from paratime.io.packages import import_package
from paratime.language.data.corpus.shards import PreparedCorpus, manifest
from paratime.language.data.sources.base import Document, Source
from paratime.language.data.sources.text import TextFiles
from paratime.language.data.split import HoldOut, Inventory, warn_of_another
from paratime.language.evaluation.contexts import Context
from paratime.language.tokenizers.base import describe_tokenizer

if TYPE_CHECKING:
    from paratime.language.evaluation.evaluate import Evaluation, Score
    from paratime.language.model.network import LanguageNetwork

Split = Literal["train", "val", "test", "all"]

ROWS, NAME = 20, 32
"""Most documents that are printed, and most characters of their names."""


def run(
    ckpt_path: str,
    data: str | list[str] | None = None,
    source: Source | None = None,
    split: Split = "test",
    hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
    context: Context | None = None,
    batch_size: int = 16,
    device: str = "cpu",
    out: str | None = None,
) -> None:
    """Score a model on texts: nats per token, perplexity, bits per byte; by document and in total.

    Args:
        ckpt_path: Checkpoint of paratime fit, or folder of paratime language export.
        data: Text files, FILE or [FILE, FILE], or patterns such as "texts/*.txt".
        source: A source of documents, instead of files.
        split: Documents of the source to score: train, val, test or all.
        hold_out: As in training, so that the same documents are held out.
        context: What is read before each token: Carried, the whole document so far, or Sliding,
            windows of a length and a stride. Carried by default, except for attention without a
            window: Sliding by the windows of its training.
        batch_size: Maximum number of documents, or windows, at a time.
        device: Device of torch, such as cpu or cuda.
        out: Folder to write, new or empty: documents.csv, positions.csv, and a chart,
            positions.png.
    """
    from paratime.language.evaluation.contexts import default_context
    from paratime.language.evaluation.evaluate import evaluate
    from paratime.language.export.safetensors import load_model

    if out is not None:
        check_new(out)
    documents, inventory = _chosen(data, source, split, hold_out)
    task = load_model(ckpt_path, device)
    if isinstance(source, PreparedCorpus):
        _check_tokens(source, task)
    context = context or default_context(task)
    result = evaluate(task, documents, context, batch_size=batch_size)
    if split != "all":
        warn_of_another(task.spec.corpus, _inventory(source, inventory))
    print(document_table(result))
    if out is not None:
        write_scores(result, out, f"{Path(ckpt_path).name}, {_described(context)}")
        print(f"{'scores':<20} {out}")


def document_table(result: "Evaluation") -> str:
    """Return the scores of the longest documents, and the total, as aligned text."""
    longest = sorted(result.documents, key=lambda score: score.tokens, reverse=True)[:ROWS]
    shown = [score for score in result.documents if score in longest]
    names = ["document", *(_shortened(score.name) for score in [*shown, result.total])]
    width = max(map(len, names))
    titles = ("tokens", "bytes", "loss", "perplexity", "bits/byte", "accuracy")
    lines = [f"{'document':<{width}}" + "".join(f" {title:>10}" for title in titles)]
    lines += [_row(score, width) for score in shown]
    if left := len(result.documents) - len(shown):
        lines.append(f"and {left} shorter ones, which --out writes")
    return "\n".join([*lines, _row(result.total, width)])


def write_scores(result: "Evaluation", folder: str, title: str) -> None:
    """Write the scores as CSV and a chart, completely or not at all.

    Args:
        result: The scores.
        folder: New or empty.
        title: Title of the chart.

    Raises:
        InputError: matplotlib is not installed.
    """
    import_package("matplotlib", what="out", extra="language")
    from paratime.language.evaluation.charts import position_chart

    with making(folder) as draft:
        draft.mkdir()
        write_csv(result.documents_table(), draft / "documents.csv", float_format="%.7g")
        write_csv(result.positions_table(), draft / "positions.csv", float_format="%.7g")
        figures.save_figure(position_chart(result, title), str(draft / "positions.png"))


def _chosen(
    data: str | list[str] | None, source: Source | None, split: Split, hold_out: HoldOut
) -> tuple[Iterable[Document], Inventory]:
    """Return the documents, and what all of the source are, once they have been read."""
    inventory = Inventory()
    if (data is None) == (source is None):
        raise InputError(
            "data",
            expected="--data FILES or --source SOURCE",
            got="neither" if data is None else "both",
            remedy="give one of them",
        )
    if data is not None:
        return TextFiles([data] if isinstance(data, str) else data).documents(), inventory
    assert source is not None
    parts = inventory.watch(hold_out.parts(source))
    return (document for name, document in parts if split in ("all", name)), inventory


def _inventory(source: Source | None, found: Inventory) -> dict[str, str] | None:
    """Return what the documents of a source are; None of files that are of no split."""
    if isinstance(source, PreparedCorpus):
        known: dict[str, str] | None = manifest(source.folder).get("inventory")
        return known
    return None if source is None else found.described()


def _check_tokens(source: PreparedCorpus, task: "LanguageNetwork") -> None:
    """Refuse tokens of another tokenizer."""
    from paratime.language.model.network import tokenizer_of

    ours, theirs = tokenizer_of(task).spec(), source.tokenizer().spec()
    if theirs != ours:
        raise InputError(
            source.path,
            expected=f"tokens of {describe_tokenizer(ours)}",
            got=describe_tokenizer(theirs),
            remedy="name the source of the texts instead",
        )


def _row(score: "Score", width: int) -> str:
    return (
        f"{_shortened(score.name):<{width}} {score.tokens:>10,} {score.bytes:>10,}"
        f" {score.loss:>10.4f} {score.perplexity:>10.4g} {score.bits_per_byte:>10.4f}"
        f" {score.accuracy:>10.1%}"
    )


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else "..." + name[3 - NAME :]


def _described(context: Context) -> str:
    options = ", ".join(f"{k} {v}" for k, v in vars(context).items() if v is not None)
    return type(context).__name__ + (f" ({options})" if options else "")
