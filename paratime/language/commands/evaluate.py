"""``paratime language evaluate``: the scores of a model over any text."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from paratime.errors import InputError
from paratime.io import figures
from paratime.io.atomic import check_new, making
from paratime.language.data.sources.catalog import Document, Prepared, Source, TextFiles
from paratime.language.data.split import HoldOut
from paratime.language.evaluation.contexts import Carried, Context
from paratime.language.evaluation.evaluate import Evaluation, Score, evaluate, tokenizer_of
from paratime.language.export.safetensors import load
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.base import describe

Split = Literal["train", "val", "test", "all"]

ROWS, NAME = 20, 32
"""Documents that are printed, and letters of their names."""


def evaluate_text(
    ckpt_path: str,
    data: str | list[str] | None = None,
    source: Source | None = None,
    split: Split = "test",
    hold_out: HoldOut = HoldOut(),  # noqa: B008 (frozen)
    context: Context = Carried(),  # noqa: B008 (frozen)
    batch_size: int = 16,
    device: str = "cpu",
    out: str | None = None,
) -> None:
    """Score a model over texts: nats a token, perplexity, bits per byte, by document and in total.

    Args:
        ckpt_path: Checkpoint of paratime fit, or folder of paratime language export.
        data: Text files, FILE or [FILE, FILE], or patterns such as "texts/*.txt".
        source: A source of documents, instead of files, of which some are held out.
        split: Which documents of the source: train, val, test or all.
        hold_out: As in the training, so that the same documents are held out.
        context: What is read before each token: Carried, the whole document, or Sliding, windows of
            a length and a stride.
        batch_size: Most documents, or windows, at a time.
        device: Where to compute, as torch names it: cpu, cuda.
        out: Folder to write, new or empty: documents.csv, positions.csv, and a chart of these,
            positions.png.
    """
    if out is not None:
        check_new(out)
    documents, task = _chosen(data, source, split, hold_out), load(ckpt_path, device)
    if isinstance(source, Prepared):
        _check_tokens(source, task)
    result = evaluate(task, documents, context, batch_size=batch_size)
    print(table(result))
    if out is not None:
        write(result, out, f"{Path(ckpt_path).name}, {_described(context)}")
        print(f"{'scores':<20} {out}")


def table(result: Evaluation) -> str:
    """Return the scores as aligned text: of the longest documents, and in total."""
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


def write(result: Evaluation, folder: str, title: str) -> None:
    """Write the scores as CSV and a chart, whole or not at all.

    Args:
        result: The scores.
        folder: New or empty.
        title: Of the chart.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from paratime.language.evaluation.charts import draw
    except ImportError:
        remedy = 'pip install "paratime[language]"'
        raise InputError("matplotlib", "the package", "none installed", remedy) from None
    with making(folder) as draft:
        draft.mkdir()
        result.documents_table().to_csv(draft / "documents.csv", index=False, float_format="%.7g")
        result.positions_table().to_csv(draft / "positions.csv", index=False, float_format="%.7g")
        figures.save(draw(result, title), str(draft / "positions.png"))


def _chosen(
    data: str | list[str] | None, source: Source | None, split: Split, hold_out: HoldOut
) -> Iterable[Document]:
    if (data is None) == (source is None):
        got = "neither" if data is None else "both"
        raise InputError("data", "--data FILES or --source SOURCE", got, "give one of them")
    if data is not None:
        return TextFiles([data] if isinstance(data, str) else data).documents()
    assert source is not None
    return (document for name, document in hold_out.parts(source) if split in ("all", name))


def _check_tokens(source: Prepared, task: LanguageTask) -> None:
    """Refuse tokens of another tokenizer than the model's."""
    ours, theirs = tokenizer_of(task).spec(), source.tokenizer().spec()
    if theirs != ours:
        expected, remedy = f"tokens of {describe(ours)}", "name the source of the texts instead"
        raise InputError(source.path, expected, describe(theirs), remedy)


def _row(score: Score, width: int) -> str:
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
