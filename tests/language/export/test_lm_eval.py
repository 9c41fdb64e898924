"""The adapter for lm-evaluation-harness: its scores are the model's own."""

import json
import math
import subprocess
import sys

import pytest
import torch
from language.models import BYTES, START, document, greedy, make_task, train

from paratime.errors import InputError
from paratime.language import Document
from paratime.language.evaluation.contexts import Sliding
from paratime.language.evaluation.evaluate import evaluate

pytest.importorskip("lm_eval")


PAIRS = (
    ("To be or not", " to be"),
    ("To be or not", " naïve"),
    ("", "or"),
    ("a trailing space ", "moves"),
    ("x", "y" * 70),
)


QUESTIONS = [
    {"question": "To be", "choices": [" or", " not", " that is the"], "label": 1},
    {"question": "Whether", "choices": [" tis", " nobler"], "label": 0},
]


TASK = """\
task: quotes
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: label
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


@pytest.fixture
def model():
    from paratime.language.export.lm_eval import ParatimeLM

    task = make_task().double()
    task.head.weight.data[128:] = 0  # so that it writes characters of one byte
    return ParatimeLM(task=task, batch_size=2)


def requests(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]


@torch.no_grad()
def own(task, context, continuation):
    """Score a continuation by one pass over the whole text."""
    ids = document(context + continuation)
    logits = task(ids[None])[0][0, :-1]
    count = len(continuation.encode())
    values = logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]][-count:]
    return float(values.sum()), bool((logits.argmax(-1) == ids[1:])[-count:].all())


def test_log_likelihoods_are_those_of_one_pass(model):
    found = model.loglikelihood(requests("loglikelihood", *PAIRS), disable_tqdm=True)
    for (context, continuation), (value, top) in zip(PAIRS, found, strict=True):
        context, spaces = context.rstrip(), context[len(context.rstrip()) :]
        expected, hits = own(model.task, context, spaces + continuation)
        assert value == pytest.approx(expected, rel=1e-10) and top is hits


def test_what_the_model_writes_is_the_most_likely(model):
    text = greedy(model.task, "To be", 5)
    pairs = ("To be", text[:3]), ("To be", "\x00\x01\x02")
    found = model.loglikelihood(requests("loglikelihood", *pairs), disable_tqdm=True)
    assert [top for _, top in found] == [True, False]


def test_rolling_log_likelihoods_are_those_of_evaluate(model):
    texts = ("a long text, " * 30, "naïve")
    found = model.loglikelihood_rolling(
        requests("loglikelihood_rolling", *((text,) for text in texts)), disable_tqdm=True
    )
    scores = evaluate(model.task, [Document(text, text) for text in texts]).documents
    assert found == pytest.approx([-score.nats for score in scores], rel=1e-10)
    model.context = Sliding(8, 4)
    windows = model.loglikelihood_rolling(
        requests("loglikelihood_rolling", (texts[0],)), disable_tqdm=True
    )
    assert abs(windows[0] - found[0]) > 1e-3


def test_texts_of_nothing(model):
    empty = requests("loglikelihood_rolling", ("",), ("a",), ("",))
    found = model.loglikelihood_rolling(empty, disable_tqdm=True)
    assert found[0] == found[2] == 0 > found[1]
    assert model.loglikelihood_rolling(empty[:1], disable_tqdm=True) == [0]
    pair = requests("loglikelihood", ("To be", ""), ("", "a"))
    assert model.loglikelihood(pair, disable_tqdm=True)[0] == (0, True)


def test_filters_that_do_not_matter(model):
    """As configs for transformers have them: greedy text, or a top_k of 0 for none."""
    greedily = {"until": [], "max_gen_toks": 5, "do_sample": False, "top_k": 0, "top_p": 0.0}
    drawn = {"until": [], "max_gen_toks": 5, "do_sample": True, "temperature": 1.0, "top_k": 0}
    given = ("To be", greedily), ("To be", drawn)
    found = model.generate_until(requests("generate_until", *given), disable_tqdm=True)
    assert found[0] == greedy(model.task, "To be", 5) and len(found[1]) == 5


def test_text_is_that_of_generate_up_to_the_end(model):
    whole = greedy(model.task, "To be", 40)
    assert len(whole) > 6
    end = whole[4:6]
    given = (
        ("To be", {"until": [], "max_gen_toks": 40}),
        ("To be", {"until": [end, "never"], "max_gen_toks": 40}),
        ("To be", {"until": "never", "max_new_tokens": 3, "do_sample": False, "top_p": 0.9}),
        ("To be", {"until": [], "max_gen_toks": 9, "temperature": 1.0}),
        ("To be", {"until": [], "max_gen_toks": 9, "temperature": 1.0}),
    )
    found = model.generate_until(requests("generate_until", *given), disable_tqdm=True)
    three = greedy(model.task, "To be", 3)
    assert found[:3] == [whole, whole[: whole.index(end)], three]
    assert found[3] != found[4], "samples of one request differ"
    unknown = requests("generate_until", ("a", {"temperature": 1.0, "num_beams": 2}))
    with pytest.raises(InputError, match="got num_beams"):
        model.generate_until(unknown, disable_tqdm=True)


@pytest.fixture
def quotes(tmp_path, monkeypatch):
    """Write a task of our own: two questions with choices."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "tasks"
    folder.mkdir()
    data = tmp_path / "quotes.jsonl"
    data.write_text("\n".join(map(json.dumps, QUESTIONS)))
    (folder / "quotes.yaml").write_text(TASK.format(path=data))
    return folder


@pytest.mark.slow
def test_a_task_through_the_harness(tmp_path, quotes):
    checkpoint = train(tmp_path)
    command = [
        *(sys.executable, "-m", "paratime.language.export.lm_eval", "run", "--model", "paratime"),
        *("--model_args", f"ckpt_path={checkpoint}", "--tasks", "quotes"),
        *("--include_path", str(quotes), "--output_path", str(tmp_path / "results")),
        "--log_samples",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "quotes" in done.stdout
    from paratime.language.export.safetensors import load_task

    task = load_task(checkpoint)
    (samples,) = (tmp_path / "results").glob("**/samples_quotes_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == len(QUESTIONS)
    for row in rows:
        question = QUESTIONS[row["doc_id"]]
        scores = [own(task, question["question"], choice) for choice in question["choices"]]
        for (value, top), (expected, hits) in zip(row["filtered_resps"], scores, strict=True):
            assert float(value) == pytest.approx(expected, rel=1e-4)
            assert str(top) == str(hits)
        best = max(range(len(scores)), key=lambda i: scores[i][0])
        assert row["acc"] == float(best == question["label"])


def test_ids_and_sizes(model):
    assert model.eot_token_id == START and model.tok_encode("a") == BYTES.encode("a").tolist()
    from paratime.language.export.lm_eval import ParatimeLM

    with pytest.raises(InputError, match="batch_size: expected at least 1"):
        ParatimeLM(task=model.task, batch_size=0)
    assert math.isfinite(model.loglikelihood(requests("loglikelihood", PAIRS[0]))[0][0])
