"""Tasks of world models: rollouts in the loss, and states that go on from batch to batch."""

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional
from world.networks import CLOSE, SPEC, double, rows, whole
from world.trajectories import make_data

from paratime import Encoder
from paratime.world.data.windows import PackedWindows
from paratime.world.model.rewards import TwoHot
from paratime.world.model.rollout import open_loop
from paratime.world.model.rssm import Categorical
from paratime.world.model.task import DynamicsTask, WorldTask, transition_mask


def task(kind: str, **options: object) -> DynamicsTask | WorldTask:
    torch.manual_seed(0)
    encoder = Encoder(8, 1, mlp_size=8)
    if kind == "latent":
        return WorldTask(encoder, SPEC, Categorical(3, 4), **options).double().eval()
    made = DynamicsTask(encoder, SPEC, **options).double().eval()
    nn.init.normal_(made.network.head.weight, std=0.3)  # zeros at the beginning of training
    return made


@pytest.mark.parametrize("kind", ("dynamics", "latent"))
def test_the_error_of_rollouts_is_that_of_imagination(kind):
    made, batch = task(kind, overshoot=3), whole()
    torch.manual_seed(3)
    begin = int(torch.randint(batch["observation"].shape[1] - 3, ()))
    torch.manual_seed(3)
    found = made.ahead(batch)
    rollout = open_loop(made.network, batch, context=begin + 1, horizon=3)
    rollouts, truth = rollout.prediction, rollout.truth
    there, errors = transition_mask(batch), []
    for episode in range(len(truth)):
        for step in range(3):
            if not there[episode, begin : begin + step + 1].all():
                break
            row, net = begin + 1 + step, made.network
            off = (rollouts.observation - truth)[episode, step] / net.observation[1]
            reward = rollouts.reward[episode, step] - batch["prev_reward"][episode, row]
            cont = rollouts.cont[episode, step]
            chance = 1 - cont if batch["is_terminal"][episode, row] else cont
            errors.append(off.square().mean() + (reward / net.reward[1]).square() - chance.log())
    assert errors and torch.allclose(found, torch.stack(errors).mean())
    made.train()
    made.ahead(batch).backward()
    assert all(p.grad is not None for p in made.network.encoder.parameters())


@pytest.mark.parametrize("kind", ("dynamics", "latent"))
def test_a_state_goes_on_over_windows(kind):
    """The losses of two windows with the state handed over are those of one."""
    made, batch = task(kind), whole()
    one = {k: x[2:3] for k, x in batch.items()}
    parts = {k: x[:, :8] for k, x in one.items()}, {k: x[:, 7:] for k, x in one.items()}
    name = "seen" if kind == "latent" else "change"
    whole_loss, first = made.losses(one)[1][name], made.losses(parts[0])
    second = made.losses(parts[1], first[2])
    if kind == "dynamics":
        assert torch.allclose(7 * first[1][name] + 7 * second[1][name], 14 * whole_loss)
    without = made.losses(parts[1])
    assert (second[1][name] - without[1][name]).abs() > 1e3 * CLOSE


class Watch(Callback):
    """Notes the states that batches begin from, and stops in the middle of an epoch."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.begun = stop, []

    def on_train_batch_start(self, trainer, task, batch, batch_idx) -> None:
        follows = bool(batch["follows"].all())
        self.begun.append(flat(task.carry.kept) if follows else None)

    def on_train_batch_end(self, trainer, task, *_: object) -> None:
        if trainer.global_step == self.stop:
            trainer.save_checkpoint("half.ckpt")


def flat(state: object) -> list[Tensor]:
    return [x for part in state for x in flat(part)] if isinstance(state, tuple) else [state]


def test_streams_carry_their_state_and_resume_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(stop: int | None, path: str | None = None) -> tuple[Watch, DynamicsTask]:
        seed_everything(0, verbose=False)
        data, watch = make_data(mode="stream", batch_size=2), Watch(stop)
        made = DynamicsTask(Encoder(8, 1, mlp_size=8), data.spec, overshoot=2)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            max_steps=14,
            callbacks=[watch],
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            **quiet,
        )
        trainer.fit(made, data, ckpt_path=path)
        return watch, made

    watch, made = run(stop=5)
    batches = len(make_data(mode="stream", batch_size=2).train_dataloader())
    assert 6 < batches < 14
    assert [i for i, state in enumerate(watch.begun) if state is None] == [0, batches]
    again, resumed = run(stop=None, path="half.ckpt")
    for a, b in zip(again.begun[0], watch.begun[5], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(resumed.parameters(), made.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ("dynamics", "latent"))
def test_rewards_of_bins_are_in_the_units_of_the_environment(kind):
    made, batch = task(kind, reward=TwoHot(9, 2.0)), whole()
    loss, parts, _ = made.losses(batch)
    assert loss.isfinite() and parts["reward"] > 0
    found = open_loop(made.network, batch, context=3, horizon=4).prediction
    assert found.reward.shape == found.cont.shape == (3, 4)
    low, high = (made.network.reward[0] + s * made.network.reward[1] * 6.4 for s in (-1, 1))
    assert (found.reward >= low).all() and (found.reward <= high).all()


@pytest.mark.parametrize("kind", ("dynamics", "latent"))
def test_rollouts_are_learnt_from_under_autocast(kind, monkeypatch):
    """CUDA's autocast refuses the entropy of probabilities; the CPU's is made to, here."""
    entropy = functional.binary_cross_entropy

    def strict(chance: Tensor, cont: Tensor, **options: object) -> Tensor:
        assert not torch.is_autocast_enabled("cpu") and chance.dtype == torch.float32
        return entropy(chance, cont, **options)

    monkeypatch.setattr(functional, "binary_cross_entropy", strict)
    made = task(kind, overshoot=2).float()
    batch = {k: x.float() if x.is_floating_point() else x for k, x in whole().items()}
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = made.losses(batch)
    loss.backward()
    assert loss.isfinite()


def test_a_state_goes_to_the_window_behind_it_alone():
    made, windows = task("dynamics"), PackedWindows(rows(), 4)

    def batch(seed: int, window: int, follows: bool = True) -> dict[str, Tensor]:
        return double({key: x[None] for key, x in windows[seed, window, follows].items()})

    made.log = made.log_dict = lambda *_, **__: None
    for seed, window, follows, goes_on in (
        *((3, 0, True, False), (3, 1, True, True), (3, 3, True, False), (3, 4, False, False)),
        *((4, 5, True, False), (4, 6, True, True)),
    ):
        now = batch(seed, window, follows)
        assert (made.carry.before(now) is not None) == goes_on
        made.training_step(now, 0)
    wider = {key: torch.cat([x, x]) for key, x in batch(4, 7).items()}
    assert made.carry.before(wider) is None
