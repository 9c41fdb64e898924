"""How a language model is trained: states over windows, memory, precision, rates and widths."""

from functools import partial

import pytest
import torch
from language.runs import BYTES, batch_of, make_data, make_task, make_trainer
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    ModelCheckpoint,
)

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.testing import TOLERANCE
from paratime.training.compile import CompileBlocks
from paratime.training.optimizer import AdamW, recurrent_weights
from paratime.training.throughput import peak_flops, precision_of

EXACT = TOLERANCE[torch.float64]
MIXERS = pytest.mark.parametrize("mixer", (ParaGRU, ParaLSTM), ids=lambda m: m.__name__)


def gradients(task: LanguageTask, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    task.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in task.named_parameters()}


def assert_equal(own: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> None:
    for name, expected in truth.items():
        gap = (own[name] - expected).abs().max() / expected.abs().max().clamp(min=1e-6)
        assert gap <= EXACT.gradient, f"{name}: {gap}"


def windows(batch: dict[str, torch.Tensor], length: int) -> list[dict[str, torch.Tensor]]:
    """Cut a batch into batches that follow one another."""
    rows, parts = len(batch["inputs"]), []
    for begin in range(0, batch["inputs"].shape[1], length):
        now = {k: v[:, begin : begin + length] for k, v in batch.items() if v.dim() == 2}
        place = torch.tensor([[7, begin + 1000 * row] for row in range(rows)])
        follows = torch.full((rows,), begin > 0)
        parts.append(now | {"place": place, "follows": follows, "num_bytes": batch["num_bytes"]})
    return parts


class TestCarriedStates:
    def losses(self, task: LanguageTask, parts: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        task.log = lambda *_, **__: None
        return torch.stack([task.training_step(part, i) for i, part in enumerate(parts)]).mean()

    @MIXERS
    def test_windows_equal_one_long_run(self, mixer):
        task = LanguageTask(
            Encoder(16, 2, mixer, mlp_size=16), TokenSpec(BYTES.vocab_size)
        ).double()
        ids = torch.randint(257, (3, 49))
        whole, _, _ = task.losses(batch_of(ids))
        cut = self.losses(task, windows(batch_of(ids), 12))
        assert (cut - whole).abs() <= EXACT.value
        fresh = torch.stack([task.losses(x)[0] for x in windows(batch_of(ids), 12)]).mean()
        assert (fresh - whole).abs() > 1e-4

    def test_gradients_end_at_the_start_of_a_window(self):
        task = make_task().double()
        ids = torch.randint(256, (3, 49))
        parts = windows(batch_of(ids), 12)
        own = gradients(task, self.losses(task, parts))
        states = [None]
        for part in parts[:-1]:
            with torch.no_grad():
                states.append(task.losses(part, states[-1])[2])
        pairs = zip(parts, states, strict=True)
        apart = torch.stack([task.losses(part, state)[0] for part, state in pairs]).mean()
        assert_equal(own, gradients(task, apart))
        whole = gradients(task, task.losses(batch_of(ids))[0])
        name = "encoder.blocks.0.mixer.mixer.cell.weight_hh"
        assert (own[name] - whole[name]).abs().max() > 1e-8

    def test_a_batch_from_elsewhere_begins_anew(self):
        task = make_task().double()
        first, second, third, fourth = windows(batch_of(torch.randint(256, (3, 49))), 12)
        self.losses(task, [first, second])
        assert task.carry.before(third) is not None
        assert task.carry.before(fourth) is None  # a window is missing
        assert task.carry.before(third | {"follows": torch.tensor([True, True, False])}) is None
        plain = batch_of(torch.randint(256, (3, 13)))
        assert task.carry.before(plain) is None

    def test_scores_of_windows_equal_those_of_one_long_run(self):
        task = make_task().double()
        ids = torch.randint(256, (2, 37))
        with torch.no_grad():
            whole = task.losses(batch_of(ids))[1]
            parts = [-task.predict_step(x, 0) for x in windows(batch_of(ids), 9)]
        assert (torch.cat(parts, dim=1) - whole).abs().max() <= EXACT.value
        assert task.carry.kept is None

    def test_a_checkpoint_keeps_the_state(self):
        task, other = make_task(), make_task()
        self.losses(task, windows(batch_of(torch.randint(256, (2, 25))), 12))
        saved = {"state_dict": task.state_dict()}
        task.on_save_checkpoint(saved)
        other.on_load_checkpoint(saved)
        assert other.carry.kept is task.carry.kept is not None


@MIXERS
def test_packed_documents_train_as_separate_ones(mixer):
    task = LanguageTask(Encoder(16, 2, mixer, mlp_size=16), TokenSpec(BYTES.vocab_size)).double()
    documents = [
        torch.cat([torch.tensor([[BYTES.start]]), torch.randint(256, (1, n))], dim=1)
        for n in (5, 1, 17)
    ]
    packed = batch_of(torch.cat(documents, dim=1))
    inside = packed["targets"] != BYTES.start
    nats = task.losses(packed)[1][inside]
    apart = torch.cat([task.losses(batch_of(x))[1][0] for x in documents])
    assert (nats - apart).abs().max() <= EXACT.value

    def total(batch, weight=None):
        """TorchStepper cross-entropy, so that single targets can be left out."""
        logits, _ = task(batch["inputs"], reset=batch["reset"])
        targets = batch["targets"].masked_fill(batch["targets"] == BYTES.start, -100)
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum")

    own = gradients(task, total(packed))
    assert_equal(own, gradients(task, sum(total(batch_of(x)) for x in documents)))


def test_recomputed_blocks_have_the_same_gradients_and_keep_less():
    ids, kept = torch.randint(256, (2, 40)), []
    found = []
    for recompute in (0, 1, 3):
        torch.manual_seed(0)
        encoder = Encoder(16, 3, ParaLSTM, mlp_size=16, recompute=recompute)
        task = LanguageTask(encoder, TokenSpec(BYTES.vocab_size)).double()
        numbers = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, numbers=numbers: numbers.append(x.numel()) or x, lambda x: x
        ):
            loss = task.losses(batch_of(ids))[0]
        kept.append(sum(numbers))
        found.append(gradients(task, loss))
    for other in found[1:]:
        assert all(torch.equal(other[name], g) for name, g in found[0].items())
    assert kept[0] > kept[1] > 2 * kept[2]


@pytest.mark.parametrize("recompute", (-1, 3))
def test_more_recomputed_blocks_than_there_are(recompute):
    with pytest.raises(InputError, match="recompute: expected 0 to 2 blocks"):
        Encoder(8, 2, mlp_size=8, recompute=recompute)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_blocks_train_as_others(tmp_path):
    """By tracing alone, which is what may break; what a backend makes of a graph is its own."""
    data, states = make_data(tmp_path), []
    for callbacks in ([], [CompileBlocks("aot_eager")]):
        torch.manual_seed(0)
        torch.compiler.reset()
        task = LanguageTask(
            Encoder(16, 2, ParaLSTM, mlp_size=16, recompute=1), TokenSpec(BYTES.vocab_size)
        )
        trainer = make_trainer(
            tmp_path,
            max_steps=3,
            limit_val_batches=0,
            enable_checkpointing=False,
            callbacks=callbacks,
        )
        trainer.fit(task, data)
        states.append(task.state_dict())
    assert all(block._compiled_call_impl is not None for block in task.encoder.blocks)
    plain, compiled = states
    assert list(plain) == list(compiled)
    for name, value in plain.items():
        gap = (compiled[name] - value).abs().max()
        assert gap <= TOLERANCE[torch.float32].gradient, name


def test_tied_weights_are_one_and_not_decayed(tmp_path):
    task = make_task(tied=True, optimizer=AdamW(lr=1e-2, weight_decay=1e3))
    assert task.head.weight is task.embedding.weight
    before = task.head.weight.detach().clone()
    _, others = task.parameter_groups()
    assert any(p is task.head.weight for p in others["params"])
    trainer = make_trainer(tmp_path, max_steps=2, enable_checkpointing=False)
    trainer.fit(task, make_data(tmp_path))
    assert task.head.weight is task.embedding.weight
    assert 0 < (task.head.weight - before).abs().max() < 0.1
    trainer.save_checkpoint(tmp_path / "tied.ckpt")
    encoder = Encoder(16, 2, ParaLSTM, mlp_size=16)
    twin = LanguageTask.load_from_checkpoint(tmp_path / "tied.ckpt", encoder=encoder)
    ids = torch.randint(256, (1, 9))
    assert twin.head.weight is twin.embedding.weight and torch.equal(twin(ids)[0], task(ids)[0])


@pytest.mark.parametrize("heads", (1, 2))
def test_bfloat16_with_accumulation_clipping_and_bounds(heads, tmp_path):
    encoder = Encoder(16, 2, partial(ParaGRU, heads=heads), mlp_size=16)
    optimizer = AdamW(lr=0.1, max_recurrent=0.05)
    task = LanguageTask(encoder, TokenSpec(BYTES.vocab_size), optimizer=optimizer)
    trainer = make_trainer(
        tmp_path,
        precision="bf16-mixed",
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
        max_steps=6,
        enable_checkpointing=False,
    )
    trainer.fit(task, make_data(tmp_path))
    assert trainer.callback_metrics["train/loss"] < 5
    weights = torch.cat([w.detach().flatten() for w in recurrent_weights(task)])
    assert weights.abs().max() == 0.05  # some reached the bound, none passed it
    assert all(p.dtype == torch.float32 for p in task.parameters())


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
def test_averaged_weights_are_validated_and_saved(tmp_path):
    """An average at decay 1 stays where it began, so that every use of it can be told apart."""
    task = make_task(optimizer=AdamW(lr=0.1))
    seen = []

    class Watch(Callback):
        def on_validation_batch_start(self, trainer, module, *_):
            seen.append(module.head.weight.detach().clone())

    average = EMAWeightAveraging(decay=1.0)
    save = ModelCheckpoint(tmp_path / "saved", filename="ema")
    options = {"num_sanity_val_steps": 0, "val_check_interval": 4, "limit_val_batches": 1}
    trainer = make_trainer(tmp_path, max_steps=8, callbacks=[average, save, Watch()], **options)
    start = task.head.weight.detach().clone()
    trainer.fit(task, make_data(tmp_path))
    saved = torch.load(tmp_path / "saved" / "ema.ckpt", weights_only=True)
    kept, moving = (saved[k]["head.weight"] for k in ("state_dict", "current_model_state"))
    assert len(seen) == 2 and all(torch.equal(weight, kept) for weight in seen)
    assert torch.equal(task.head.weight, kept)
    assert 0 < (start - kept).abs().max() <= 0.11  # one step at the rate
    assert (moving - kept).abs().max() > 0.11


def test_a_trainer_says_how_much_of_the_peak_it_reaches(tmp_path):
    task, trainer = make_task(), make_trainer(tmp_path, max_steps=4, enable_checkpointing=False)
    trainer.fit(task, make_data(tmp_path))
    metrics = trainer.callback_metrics
    peak = peak_flops(torch.device("cpu"), torch.float32)
    expected = metrics["train/tokens_per_s"] * task.flops() / peak
    assert metrics["train/mfu"] == pytest.approx(float(expected))


def test_operations_are_counted_by_the_weights_that_a_token_meets():
    untied, tied = make_task(), make_task(tied=True)
    assert untied.flops() == tied.flops()
    inside = sum(p.numel() for p in untied.encoder.parameters())
    assert untied.flops() == 6 * (inside + 257 * 16)


def test_precisions_of_lightning():
    names = ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true")
    expected = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.bfloat16)
    assert tuple(map(precision_of, names)) == expected
