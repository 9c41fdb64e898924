"""Exported models in transformers: our logits, our text, padded or not."""

import json

import pytest
import torch
from language.models import BYTES, START, greedy, make_task
from language.vocabularies import make
from torch.nn import functional

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.export.safetensors import export_task, from_exported
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.bpe import BPE
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaLSTM
from paratime.testing import TOLERANCE

transformers = pytest.importorskip("transformers")


LSTM = {"width": 16, "depth": 2, "mlp_size": 16, "mixer": "ParaLSTM"}
PROMPTS = ("To be", "", "or not to be, that is")
TEXTS = ("hello  world\n\x00\x7f", "naïve café", "漢字 🙂", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "out"
    export_task(make_task(), path, LSTM)
    return path


@pytest.fixture
def model(folder):
    return loaded(folder)


@pytest.fixture
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def loaded(folder, **options):
    import paratime.language.export.transformers  # noqa: F401 (it registers the classes)

    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **options)


def ours(task: LanguageTask, prompt: str, tokens: int) -> list[int]:
    """Return greedy ids behind a prompt, from our own steps."""
    logits, state = task(torch.tensor([[START, *BYTES.encode(prompt)]]))
    logits, ids = logits[:, -1], []
    for _ in range(tokens):
        ids.append(int(logits.argmax()))
        logits, state = task.step(torch.tensor(ids[-1:]), state)
    return ids


@torch.no_grad()
def test_logits_are_ours(model, folder):
    ids = torch.randint(256, (2, 20))
    task = from_exported(folder)
    output = model(ids)
    assert torch.equal(output.logits, task(ids)[0])
    following = model(ids[:, :1], state=output.state).logits
    assert torch.equal(following[:, 0], task.step(ids[:, 0], task(ids)[1])[0])
    assert torch.equal(model(ids, return_dict=False)[0], output.logits)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_ids_are_ours(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids == [START, *BYTES.encode(text).tolist()]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == START


@pytest.mark.parametrize("text", (*TEXTS, "a<|endoftext|>b<|start|>"), ids=ascii)
@pytest.mark.parametrize("kind", ("bytes", "bpe", "fallback"))
def test_ids_of_every_vocabulary_are_ours(kind, text, tmp_path):
    recipes = {"bytes": BYTES, "bpe": BPE(300)}
    ours = recipes[kind].make(lambda: iter(TEXTS)) if kind in recipes else make(kind, tmp_path)
    encoder = Encoder(16, 2, ParaLSTM, mlp_size=16)
    task = LanguageTask(encoder, TokenSpec(ours.vocab_size, ours.spec()))
    export_task(task, tmp_path / "out", LSTM)
    assert from_exported(tmp_path / "out").tokenizer == ours.spec()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs(text)["input_ids"] == [ours.start, *ours.encode(text).tolist()]
    assert theirs.bos_token_id == theirs.eos_token_id == theirs.pad_token_id == ours.start


@torch.no_grad()
def test_greedy_text_is_ours_alone_and_in_a_padded_batch(model, tokenizer, folder):
    task, options = from_exported(folder), {"max_new_tokens": 25, "do_sample": False}
    batch = tokenizer(list(PROMPTS), padding=True, return_tensors="pt")
    assert batch["attention_mask"].min() == 0, "there is padding"
    together = model.generate(**batch, eos_token_id=None, **options)
    for prompt, row in zip(PROMPTS, together, strict=True):
        expected = ours(task, prompt, 25)
        assert row[-25:].tolist() == expected
        single = tokenizer(prompt, return_tensors="pt")
        alone = model.generate(**single, eos_token_id=None, **options)[0]
        assert alone[-25:].tolist() == expected
    again = model.generate(**batch, eos_token_id=None, use_cache=False, **options)
    assert torch.equal(again, together)


def test_it_stops_where_a_document_would_start(model, tokenizer, folder):
    task = from_exported(folder)
    text = greedy(task, "To be", 400)
    prompt = tokenizer("To be", return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=400, do_sample=False)[0]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "To be" + text
    first = ours(task, "", 1)[0]
    assert model.generate(max_new_tokens=1, do_sample=False)[0].tolist() == [START, first]


@torch.no_grad()
def test_a_mask_leaves_tokens_out_wherever_they_stand(model, folder):
    task, ids = from_exported(folder).double(), torch.randint(256, (3, 12))
    model.double()
    mask = torch.ones_like(ids)
    mask[0, :5] = mask[1, 9:] = mask[2, 3:6] = mask[2, 0] = 0
    logits, state = model(ids, attention_mask=mask, return_dict=False)
    following = torch.randint(256, (3, 4))
    longer = torch.cat([mask, torch.ones_like(following)], dim=1)
    further = model(following, attention_mask=longer, state=state).logits
    for row in range(3):
        there = mask[row].bool()
        expected, after = task(ids[row][there][None])
        gap = (logits[row][there] - expected[0]).abs().max()
        assert gap <= TOLERANCE[torch.float64].value
        assert not logits[row][~there].any()
        gap = (further[row] - task(following[row][None], after)[0][0]).abs().max()
        assert gap <= TOLERANCE[torch.float64].value


def test_each_new_token_is_one_step(model, tokenizer, monkeypatch):
    steps, passes = [], []
    step, forward = LanguageTask.step, LanguageTask.forward

    def record(self, token, state=None):
        steps.append(tuple(token.shape))
        return step(self, token, state)

    def count(self, inputs, state=None, **options):
        passes.append(tuple(inputs.shape))
        return forward(self, inputs, state, **options)

    monkeypatch.setattr(LanguageTask, "step", record)
    monkeypatch.setattr(LanguageTask, "forward", count)
    batch = tokenizer(["abc", "a"], padding=True, return_tensors="pt")
    model.generate(**batch, eos_token_id=None, max_new_tokens=9, do_sample=False)
    assert passes == [(2, 4)] and steps == [(2,)] * 8


def test_the_loss_is_that_of_tokens_behind_tokens(model, folder):
    task, ids = from_exported(folder), torch.randint(256, (2, 10))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    labels = ids.masked_fill(mask == 0, -100)
    loss = model(ids, attention_mask=mask, labels=labels).loss
    rows = [ids[:1, 4:], ids[1:]]
    nats = [
        functional.cross_entropy(task(x[:, :-1])[0][0], x[0, 1:], reduction="none") for x in rows
    ]
    expected = float(torch.cat(nats).mean().detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert model.model.embedding.weight.grad.abs().max() > 0


def test_a_saved_model_comes_back(model, folder, tmp_path):
    model.save_pretrained(tmp_path / "again")
    weights = from_exported(folder).state_dict()
    for twin in (loaded(tmp_path / "again").model, from_exported(tmp_path / "again")):
        assert twin.state_dict().keys() == weights.keys()
        assert all(torch.equal(weights[k], x) for k, x in twin.state_dict().items())
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["model_type"] == "paratime" and config["vocab_size"] == 257


def test_a_saved_model_with_shared_weights_comes_back(tmp_path, monkeypatch):
    from paratime.language.export import transformers as hub

    build = hub.build_task
    monkeypatch.setattr(hub, "build_task", lambda recipe: tie(build(recipe)))
    task = tie(make_task())
    export_task(task, tmp_path / "out", LSTM)
    model = loaded(tmp_path / "out")
    assert model.model.head.weight is model.model.embedding.weight
    model.save_pretrained(tmp_path / "again")
    ids = torch.randint(256, (1, 9))
    assert torch.equal(loaded(tmp_path / "again")(ids).logits, task(ids)[0])


def tie(task: LanguageTask) -> LanguageTask:
    task.head.weight = task.embedding.weight
    return task


def test_another_precision(folder):
    model = loaded(folder, dtype=torch.bfloat16)
    ids = torch.randint(256, (1, 9))
    gap = (model(ids).logits.float() - from_exported(folder)(ids)[0]).abs().max()
    assert model.dtype == torch.bfloat16 and 0 < gap < 1


def test_what_is_refused(model, tokenizer):
    from paratime.language.export.transformers import ParatimeConfig, ParatimeForCausalLM

    tokenizer.padding_side = "right"
    batch = tokenizer(["abc", "a"], padding=True, return_tensors="pt")
    with pytest.raises(InputError, match="attention_mask: expected padding on the left"):
        model.generate(**batch, max_new_tokens=3)
    with pytest.raises(ValueError, match="only supports"):
        model.generate(batch["input_ids"], max_new_tokens=3, num_beams=2)
    with pytest.raises(InputError, match="model: expected its class and arguments, got None"):
        ParatimeForCausalLM(ParatimeConfig())
