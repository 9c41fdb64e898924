"""Text from a model: reading prompts, going on, and ending."""

from functools import partial

import pytest
import torch

from paratime.baselines.attention import Attention
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.generation import generate as generation
from paratime.language.generation import stepping
from paratime.language.generation.generate import Stops, complete, generate
from paratime.language.generation.sampling import Sampler, Sampling
from paratime.language.generation.stepping import NativeStepper, TorchStepper, prefill, stepper
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.layers.state import leaves
from paratime.ops.native import library
from paratime.testing import TOLERANCE

BYTES = ByteTokenizer()
MIXERS = {
    "ParaGRU": ParaGRU,
    "ParaLSTM": ParaLSTM,
    "Mamba2": partial(Mamba2, state_size=8, head_size=8),
    "Attention": Attention,
    "Attention to 5": partial(Attention, window=5),
}


PROMPTS = ("", "To be, or not to be", "a", "naïve café", "To")


def make_task(mixer=ParaGRU, width=16) -> LanguageTask:
    return LanguageTask(
        Encoder(width, 2, mixer, mlp_size=16), TokenSpec(BYTES.vocab_size, BYTES.spec())
    )


def ids(*prompts: str) -> list[list[int]]:
    return [[BYTES.start, *BYTES.encode(x).tolist()] for x in prompts]


def stepped(task, prompts):
    """Read prompts one by one, token by token."""
    logits, states = [], []
    with torch.no_grad():
        for tokens in prompts:
            state = None
            for token in tokens:
                last, state = task.step(torch.tensor([token]), state)
            logits.append(last)
            states.append(leaves(state))
    return torch.cat(logits), states


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("size", (20, 4096), ids=("in chunks", "at once"))
@pytest.mark.parametrize("name", MIXERS)
def test_reading_prompts_in_parallel_equals_stepping(name, size, dtype, monkeypatch):
    monkeypatch.setattr(stepping, "PREFILL", size)  # four steps of five prompts
    task = make_task(MIXERS[name]).to(dtype)
    logits, state = prefill(task, ids(*PROMPTS))
    expected, states = stepped(task, ids(*PROMPTS))
    assert logits.dtype == dtype
    assert (logits - expected).abs().max() <= TOLERANCE[dtype].value
    with torch.no_grad():  # what follows depends on the whole state
        following, _ = task.step(torch.arange(65, 70), state)
        for row, one in enumerate(states):
            if name == "Attention":  # its cache is as long as the longest prompt
                continue
            for a, b in zip(leaves(state), one, strict=True):
                assert (a[row] - b[0]).abs().max() <= TOLERANCE[dtype].value
        again = [[*tokens, 65 + row] for row, tokens in enumerate(ids(*PROMPTS))]
        assert (following - stepped(task, again)[0]).abs().max() <= TOLERANCE[dtype].value


def test_prompts_are_read_in_bounded_pieces(monkeypatch):
    task, lengths = make_task(), []
    forward = type(task.encoder).forward
    watched = lambda self, x, *a, **b: lengths.append(x.numel()) or forward(self, x, *a, **b)  # noqa: E731
    monkeypatch.setattr(type(task.encoder), "forward", watched)
    prefill(task, ids("x" * 10_000, "y", "z" * 3000))
    assert len(lengths) == 8 and max(lengths) <= stepping.PREFILL * task.encoder.width


@pytest.mark.parametrize("name", MIXERS)
def test_a_batch_writes_the_texts_that_its_prompts_get_alone(name):
    task, how = make_task(MIXERS[name]), Sampling(40, temperature=1.5, top_k=50, seed=3)
    found = list(complete(task, PROMPTS, how, samples=2, batch_size=7))
    assert [(x.prompt, x.sample) for x in found] == [(p, i) for p in PROMPTS for i in (0, 1)]
    assert [x.text for x in found[::2]] == ["".join(generate(task, p, how)) for p in PROMPTS]
    assert len({x.text for x in found}) == len(found)


@pytest.mark.parametrize("mixer", (ParaGRU, ParaLSTM))
def test_native_code_writes_the_text_of_torch(mixer):
    task = make_task(mixer)
    how = Sampling(60, 1.2, 20, temperature=1.2, top_p=0.95, seed=1)
    fast = list(complete(task, PROMPTS, how, samples=2))
    with library.force_backend(library.REFERENCE):
        assert list(complete(task, PROMPTS, how, samples=2)) == fast
    assert {x.reason for x in fast} >= {"length"} and len({x.tokens for x in fast}) > 1


def test_which_models_native_code_steps():
    def way(task):
        logits, state = prefill(task, ids("a"))
        return type(
            stepper(
                task,
                Sampler(Sampling(), seeds=[0], prompts=[[]], vocab_size=257),
                logits=logits,
                state=state,
            )
        )

    assert way(make_task()) is NativeStepper
    assert way(make_task(Attention)) is TorchStepper
    assert way(make_task().bfloat16()) is TorchStepper
    with torch.autocast("cpu"):
        assert way(make_task()) is TorchStepper
    with library.force_backend(library.REFERENCE):
        assert way(make_task()) is TorchStepper


def test_it_is_seeded_and_greedy_at_zero():
    task = make_task()

    def sample(**options):
        return "".join(generate(task, "To", Sampling(30, **options)))

    assert sample(seed=1) == sample(seed=1) != sample(seed=2)
    assert sample(temperature=0.0) == sample(temperature=0.0, seed=2) == sample(top_k=1)
    assert len({sample() for _ in range(3)}) == 3
    assert task.training


class Scripted(LanguageTask):
    """A model that writes a text, whatever it reads: its state is the position."""

    def __init__(self, text: bytes) -> None:
        super().__init__(Encoder(8, 1, mlp_size=8), TokenSpec(BYTES.vocab_size, BYTES.spec()))
        self.script = torch.tensor([*text, BYTES.start])
        self.positions = []

    def step(self, token, state=None):
        position = 1 + getattr(self, "position", 0)
        self.position = position
        return 9.0 * torch.nn.functional.one_hot(self.script[position], 257)[None], state


def write(text: bytes, monkeypatch, **options):
    """Let a model write a text, and return the pieces that come out and how it ended."""
    task = Scripted(text)
    first = 9.0 * torch.nn.functional.one_hot(task.script[:1], 257)
    monkeypatch.setattr(
        "paratime.language.generation.generate.prefill", lambda *_: (first, (first,))
    )
    monkeypatch.setattr("paratime.language.generation.generate.stepper", TorchStepper)
    how = Sampling(temperature=0.0, **options)
    pieces = list(generate(task, "", how))
    task.position = 0
    (whole,) = complete(task, [""], how)
    assert "".join(pieces) == whole.text
    return pieces, whole


def test_text_ends_where_a_document_begins(monkeypatch):
    pieces, whole = write(b"abc", monkeypatch)
    assert pieces == ["a", "b", "c"] and (whole.reason, whole.tokens) == ("document", 3)


def test_text_ends_after_the_most_tokens(monkeypatch):
    pieces, whole = write(b"abcdef", monkeypatch, max_new_tokens=4)
    assert pieces == ["a", "b", "c", "d"] and (whole.reason, whole.tokens) == ("length", 4)


@pytest.mark.parametrize("length", (4, 9))
def test_an_unfinished_character_is_shown_at_the_end(length, monkeypatch):
    text = "aé漢".encode()[:5]
    _, whole = write(text, monkeypatch, max_new_tokens=length)
    assert whole.text == "aé\ufffd"


def test_a_stop_over_several_tokens_is_held_back(monkeypatch):
    pieces, whole = write(b"one EN two END three", monkeypatch, stop=("END", "xyz"))
    assert whole.text == "one EN two " and (whole.reason, whole.tokens) == ("stop", 14)
    assert pieces[3:6] == [" ", "EN ", "t"]  # held back until it cannot be a stop


def test_what_a_stop_held_back_comes_at_the_end(monkeypatch):
    assert write(b"one EN", monkeypatch, stop=("END",))[1].text == "one EN"
    assert write(b"one END", monkeypatch, stop=("END",), max_new_tokens=6)[1].text == "one EN"


def slow_stop(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        ending = [s for s in stops if text[:end].endswith(s)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


def test_stops_do_not_depend_on_the_pieces():
    generator = torch.Generator().manual_seed(0)

    def pick(*sizes):
        return torch.randint(3, sizes, generator=generator).tolist()

    for _ in range(300):
        text = "".join("abc"[i] for i in pick(12))
        stops = tuple("".join("abc"[i] for i in pick(1 + n)) for n in pick(3))
        filtered, found, begin = Stops(stops), "", 0
        stopped = False
        while begin < len(text) and not stopped:
            size = 1 + pick(1)[0]
            passed, stopped = filtered(text[begin : begin + size])
            found, begin = found + passed, begin + size
        assert (found + filtered.rest(), stopped) == slow_stop(text, stops)


def test_a_model_without_a_tokenizer():
    with pytest.raises(InputError, match="a model that knows its tokenizer"):
        next(generate(LanguageTask(Encoder(8, 1, mlp_size=8), TokenSpec(257))))


@pytest.mark.parametrize("mixer", (ParaGRU, Attention))
def test_a_model_that_has_diverged(mixer):
    task = make_task(mixer)
    task.head.weight.data[3] = torch.nan
    with pytest.raises(InputError, match="logits of token 1 after prompt 'a': expected"):
        next(generate(task, "a"))
    assert task.training


@pytest.mark.parametrize("name", ("samples", "batch_size"))
def test_no_texts(name):
    with pytest.raises(InputError, match=name):
        list(complete(make_task(), ["a"], **{name: 0}))


def test_no_prompts():
    assert list(complete(make_task(), [])) == []


@pytest.mark.parametrize("native", (True, False))
def test_a_text_may_go_on_beyond_its_end(native, monkeypatch):
    """The model would begin a new document at once, and gets no chance to."""
    if not native:
        monkeypatch.setattr(generation, "stepper", TorchStepper)
    task = make_task()
    typical = task.encoder(task.embedding(torch.tensor([[BYTES.start, 97]])))[0][0, -1]
    task.head.weight.data[BYTES.start] = 100 * typical.detach() / typical.norm()
    for temperature in (0, 1):
        how = {"max_new_tokens": 40, "temperature": temperature, "seed": 0}
        (ended,) = complete(task, ["a"], Sampling(**how))
        (full,) = complete(task, ["a"], Sampling(**how, ignore_eos=True))
        assert ended.reason == "document" and (full.reason, full.tokens) == ("length", 40)


def test_equal_prompts_get_different_texts():
    how = Sampling(max_new_tokens=20, seed=0)
    many = [x.text for x in complete(make_task(), ["a", "b", "a", "a"], how, samples=2)]
    assert len({*many[:2], *many[4:]}) == 6


def test_the_first_of_equal_prompts_gets_the_text_that_it_gets_alone():
    task, how = make_task(), Sampling(max_new_tokens=20, seed=0)
    many = [x.text for x in complete(task, ["a", "a"], how, samples=2)]
    assert many[:2] == [x.text for x in complete(task, ["a"], how, samples=2)]
