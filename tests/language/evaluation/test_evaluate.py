"""Scores over texts: against one long pass, brute force, and sums by hand."""

import math
from functools import partial

import pytest
import torch
from language.models import BYTES, START, document, make_task

from paratime.baselines.attention import Attention
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError
from paratime.language import Document
from paratime.language.commands.evaluate import ROWS, document_table
from paratime.language.data.spec import TokenSpec
from paratime.language.evaluation import contexts
from paratime.language.evaluation.charts import position_chart
from paratime.language.evaluation.contexts import Carried, Sliding, default_context
from paratime.language.evaluation.evaluate import evaluate, log_likelihoods, perplexity
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.testing import TOLERANCE

LENGTHS = (1, 40, 7, 40, 23, 64, 2)
EXACT = TOLERANCE[torch.float64].value
MIXERS = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM, "Mamba2": Mamba2, "Attention": Attention}


def texts() -> list[str]:
    drawn = torch.randint(32, 127, (max(LENGTHS),), generator=torch.Generator().manual_seed(1))
    return ["".join(map(chr, drawn.roll(n)[:n].tolist())) for n in LENGTHS]


@torch.no_grad()
def whole(task, ids):
    """Score a document in one pass: log-likelihood of each token, and whether it is the argmax."""
    logits = task(ids[None])[0][0, :-1]
    values = logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
    return values, logits.argmax(-1) == ids[1:]


def check(found, expected):
    for (values, greedy), (truth, hits) in zip(found, expected, strict=True):
        assert values.shape == truth.shape and (values - truth).abs().max() <= EXACT
        assert torch.equal(greedy, hits)


@pytest.mark.parametrize("mixer", MIXERS.values(), ids=MIXERS)
@pytest.mark.parametrize("chunk", (1, 7, 1000, None))
def test_a_carried_state_scores_as_one_long_pass(mixer, chunk):
    task = make_task(mixer).double()
    documents = [document(text) for text in texts()]
    expected = [whole(task, ids) for ids in documents]
    for batch_size in (1, 3, 16):
        check(log_likelihoods(task, documents, Carried(chunk), batch_size=batch_size), expected)


@pytest.mark.parametrize(("length", "stride"), ((8, 3), (8, 8), (1, 1), (40, 1), (100, 50)))
def test_a_sliding_window_scores_as_brute_force(length, stride):
    task = make_task().double()
    documents = [document(text) for text in texts()]
    expected = []
    for ids in documents:
        scored = []
        for last in range(len(ids) - 1):
            begin = max(0, math.ceil((last + 1 - length) / stride) * stride)
            values, hits = whole(task, ids[begin : last + 2])
            scored.append((values[-1], hits[-1]))
        expected.append(tuple(torch.stack(column) for column in zip(*scored, strict=True)))
    for batch_size in (1, 5):
        found = log_likelihoods(task, documents, Sliding(length, stride), batch_size=batch_size)
        check(found, expected)


def test_a_window_that_holds_a_document_reads_all_of_it():
    task = make_task().double()
    documents = [document(text) for text in texts()]
    check(log_likelihoods(task, documents, Sliding(64, 32)), log_likelihoods(task, documents))


def test_memory_does_not_grow_with_the_document(monkeypatch):
    seen = []
    task = make_task()
    forward = type(task).forward

    def record(self, inputs, state=None, **options):
        seen.append(tuple(inputs.shape))
        return forward(self, inputs, state, **options)

    monkeypatch.setattr(type(task), "forward", record)
    monkeypatch.setattr(contexts, "TOKENS", 32)
    log_likelihoods(task, [document("ab" * 500), document("c" * 5)], batch_size=2)
    assert max(rows * steps for rows, steps in seen) <= 32
    assert seen[0] == (2, 16) and seen[-1][0] == 1, "the short document leaves the batch"
    assert sum(steps for _, steps in seen) == 1000
    seen.clear()
    monkeypatch.setattr(contexts, "LOGITS", 257 * 8)
    log_likelihoods(task, [document("ab" * 500)])
    assert max(steps for _, steps in seen) == 8, "a large vocabulary makes chunks shorter"


def test_figures_are_those_computed_by_hand():
    task = make_task().double()
    long, short = "naïve café 漢字 " * 3, "b"
    result = evaluate(task, [Document("a", long), Document("empty", ""), Document("b", short)])
    expected = [whole(task, document(text)) for text in (long, short)]
    assert [score.name for score in result.documents] == ["a", "b"]
    for score, text, (values, hits) in zip(result.documents, (long, short), expected, strict=True):
        size = len(text.encode())
        assert score.tokens == score.bytes == size
        assert score.loss == pytest.approx(-float(values.mean()))
        assert score.perplexity == pytest.approx(math.exp(score.loss))
        assert score.bits_per_byte == pytest.approx(-float(values.sum()) / math.log(2) / size)
        assert score.accuracy == pytest.approx(float(hits.double().mean()))
    together = torch.cat([values for values, _ in expected])
    assert result.total.tokens == len(together)
    assert result.total.loss == pytest.approx(-float(together.mean()))
    assert task.training is False and task.train() and evaluate(task, [Document("b", "b")])
    assert task.training, "the mode is left as it was"


def test_positions_double():
    task = make_task().double()
    documents = [document(text) for text in texts()]
    values = [whole(task, ids)[0] for ids in documents]
    result = evaluate(task, [Document(str(i), text) for i, text in enumerate(texts())])
    assert [(p.first, p.last) for p in result.positions] == [
        (2**k, 2 ** (k + 1) - 1) for k in range(7)
    ]
    for p in result.positions:
        inside = [v[p.first - 1 : p.last] for v in values if len(v) >= p.first]
        nats = -torch.cat(inside)
        assert (p.documents, p.tokens) == (len(inside), len(nats))
        assert p.perplexity == pytest.approx(math.exp(float(nats.mean())))
        deviation = float(nats.std(correction=0))
        assert p.error == pytest.approx(deviation / math.sqrt(len(nats)), abs=1e-7)
    assert sum(p.tokens for p in result.positions) == result.total.tokens


def test_bad_arguments():
    task = make_task()
    with pytest.raises(InputError, match=r"data: expected at least one document with text"):
        evaluate(task, [Document("a", "")])
    task.head.weight.data[3] = torch.nan
    with pytest.raises(InputError, match=r"logits of document .*: expected finite values"):
        evaluate(task, [Document("a", "a")])
    task.specify(TokenSpec(257))
    with pytest.raises(InputError, match=r"tokenizer: expected a model that knows its tokenizer"):
        evaluate(task, [Document("a", "a")])
    for make in (lambda: Carried(0), lambda: Sliding(4, 0), lambda: Sliding(4, 5)):
        with pytest.raises(InputError, match=r"expected at (least|most)"):
            make()
    assert perplexity(1e6) == math.inf


def test_the_chart_shows_every_bin():
    result = evaluate(make_task(), [Document(str(i), text) for i, text in enumerate(texts())])
    top, low = position_chart(result, "a title").axes
    assert top.get_title(loc="left") == "a title"
    assert list(top.lines[0].get_ydata()) == [p.perplexity for p in result.positions]
    assert list(low.lines[0].get_ydata()) == [p.documents for p in result.positions]
    places = list(low.lines[0].get_xdata())
    assert all(p.first <= x <= p.last for p, x in zip(result.positions, places, strict=True))


def test_long_tables_are_cut():
    many = [Document(f"{'x' * 40}{i}", "a" * (i + 1)) for i in range(ROWS + 5)]
    lines = document_table(evaluate(make_task(), many)).splitlines()
    assert len(lines) == ROWS + 3 and len({len(line) for line in lines[:-2]}) == 1
    assert lines[1].startswith("...") and lines[-2] == "and 5 shorter ones, which --out writes"


def test_ids_begin_with_the_document_start():
    assert document("a").tolist() == [START, *BYTES.encode("a")]


@pytest.mark.parametrize(
    ("mixer", "windows"),
    ((Attention, True), (partial(Attention, window=8), False), (ParaGRU, False), (Mamba2, False)),
    ids=("Attention", "a window", "ParaGRU", "Mamba2"),
)
def test_a_state_that_grows_is_scored_by_the_windows_of_training(mixer, windows, caplog):
    spec = TokenSpec(257, BYTES.spec(), context_length=12)
    task = LanguageTask(Encoder(16, 1, mixer, mlp_size=16), spec).double()
    documents = [document(text) for text in texts()]
    expected = log_likelihoods(task, documents, Sliding(12, 6) if windows else Carried())
    caplog.clear()
    check(log_likelihoods(task, documents), expected)
    assert ("trained on 12 tokens at a time" in caplog.text) == windows


def test_a_state_that_grows_without_known_windows_is_said(caplog):
    assert default_context(make_task(Attention)) == Carried()
    assert "give --context Sliding" in caplog.text
