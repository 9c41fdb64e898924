"""Training, scoring and generation."""

import pytest
import torch
from language.runs import BYTES, make_data, make_task, make_trainer
from lightning.pytorch.callbacks import Callback

from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaLSTM
from paratime.ops.native import library
from paratime.testing import TOLERANCE
from paratime.training.base import AdamW, parameter_groups


class TestTraining:
    def test_a_model_learns_its_text(self, tmp_path):
        task = make_task(optimizer=AdamW(lr=2e-2))
        trainer = make_trainer(tmp_path, max_steps=60, enable_checkpointing=False)
        trainer.fit(task, make_data(tmp_path))
        assert trainer.callback_metrics["val/bits_per_byte"] < 0.5
        greedy = Sampling(max_new_tokens=12, temperature=0)
        assert "".join(generate(task, "to be or", greedy)) == " not to be. "

    def test_telemetry(self, tmp_path):
        trainer = make_trainer(tmp_path, max_steps=2, enable_checkpointing=False)
        with library.force_backend(library.REFERENCE):  # a fused pass has no iterations
            trainer.fit(make_task(), make_data(tmp_path))
        metrics = trainer.callback_metrics
        assert metrics["solver/iterations"] >= 1 and metrics["solver/loop_share"] == 0
        assert metrics["train/tokens_per_s"] > 0 and metrics["train/bits_per_byte"] > 0

    def test_the_learning_rate_warms_up_and_decays_step_by_step(self, tmp_path):
        rates = []

        class Record(Callback):
            def on_train_batch_end(self, trainer, module, *_):
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        optimizer = AdamW(lr=1.0, warmup=0.2, final=0.1)
        trainer = make_trainer(
            tmp_path, max_steps=10, enable_checkpointing=False, callbacks=[Record()]
        )
        trainer.fit(make_task(optimizer=optimizer), make_data(tmp_path))
        assert rates[:2] == [1.0, 1.0] and rates[-1] == pytest.approx(0.1)
        assert rates[1:] == sorted(rates[1:], reverse=True)

    def test_a_checkpoint_holds_plain_data_and_gives_the_model_back(self, tmp_path):
        task = make_task()
        trainer = make_trainer(tmp_path, max_steps=2, enable_checkpointing=False)
        trainer.fit(task, make_data(tmp_path))
        trainer.save_checkpoint(tmp_path / "a.ckpt")
        saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["hyper_parameters"]
        plain = {"z_loss": 1e-4, "tied": False, "transfer": None}
        about = {"vocab_size": 257, "tokenizer": {"name": "bytes"}}
        assert saved == {"spec": about | dict.fromkeys(("context_length", "corpus"))} | plain
        encoder = Encoder(16, 2, ParaLSTM, mlp_size=16)
        twin = LanguageTask.load_from_checkpoint(tmp_path / "a.ckpt", encoder=encoder)
        ids = torch.randint(256, (1, 20))
        assert torch.equal(twin(ids)[0], task(ids)[0])

    @pytest.mark.parametrize("stop", (2, 7, 8))
    def test_a_resumed_run_equals_an_uninterrupted_one(self, stop, tmp_path):
        """Eight steps an epoch, so that the run is cut within an epoch, before and at its end."""
        data = make_data(tmp_path, text="abcdefghij" * 222)
        assert len(data.train_dataloader()) == 8
        initial = make_task().state_dict()

        class Save(Callback):
            def on_train_batch_end(self, trainer, module, *_):
                if trainer.global_step == stop:
                    trainer.save_checkpoint(tmp_path / "half.ckpt")

        def run(ckpt_path=None):
            task = make_task()
            task.load_state_dict(initial)
            trainer = make_trainer(
                tmp_path, max_steps=12, enable_checkpointing=False, callbacks=[Save()]
            )
            trainer.fit(task, data, ckpt_path=ckpt_path)
            return task.state_dict()

        whole = run()
        resumed = run(tmp_path / "half.ckpt")
        for name, value in whole.items():
            assert torch.equal(resumed[name], value), name

    def test_a_checkpoint_of_another_vocabulary(self, tmp_path):
        trainer = make_trainer(tmp_path, max_steps=1, enable_checkpointing=False)
        data = make_data(tmp_path)
        trainer.fit(LanguageTask(Encoder(16, 1, mlp_size=16), TokenSpec(300)), data)
        trainer.save_checkpoint(tmp_path / "300.ckpt")
        with pytest.raises(InputError) as error:
            make_trainer(tmp_path).validate(
                LanguageTask(Encoder(16, 1, mlp_size=16), TokenSpec(257)),
                data,
                ckpt_path=tmp_path / "300.ckpt",
                verbose=False,
            )
        expected = "vocab_size of the data: expected 300, as in the checkpoint, got 257"
        assert expected in str(error.value)


def test_packed_documents_score_as_separate_ones():
    task = make_task().double()
    documents = [torch.tensor([[256, *BYTES.encode(t)]]) for t in ("one text", "and another one")]
    packed = torch.cat(documents, dim=1)
    with torch.no_grad():
        logits, _ = task(packed, reset=packed == 256)
        apart = torch.cat([task(d)[0] for d in documents], dim=1)
    assert (logits - apart).abs().max() <= TOLERANCE[torch.float64].value


def test_only_input_matrices_are_decayed():
    task = make_task()
    decayed, others = parameter_groups(task, 0.1)
    names = {id(p): n for n, p in task.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and others["weight_decay"] == 0
    assert len(names) == len(decayed["params"]) + len(others["params"])
    left = {names[id(p)] for p in others["params"]}
    for part in ("weight_hh", "peephole", "bias", "norm", "scale", "embedding", "conv"):
        assert any(part in name for name in left)
        assert not any(part in names[id(p)] for p in decayed["params"])
    assert all(p.dim() >= 2 for p in decayed["params"])


def test_a_model_without_a_vocabulary(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=1, enable_checkpointing=False)
    with pytest.raises(InputError, match="use data with tokens"):
        trainer.validate(LanguageTask(Encoder(8, 1, mlp_size=8)), [], verbose=False)
