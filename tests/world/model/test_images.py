"""Images in the latent model: sizes, episodes that stay apart, imagination, and data of them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from world.networks import CLOSE, LENGTHS, double
from world.networks import rows as vectors

from paratime import Encoder
from paratime.errors import InputError
from paratime.layers.norm import RMSNorm
from paratime.layers.state import expand
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Layout, align_episode, make_episode, observation_row
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.data.windows import PackedWindows, Whole, padded
from paratime.world.model.images import ImageDecoder, ImageEncoder
from paratime.world.model.metrics import ImageError
from paratime.world.model.rollout import open_loop
from paratime.world.model.rssm import RSSM, Categorical
from paratime.world.model.task import DynamicsTask, WorldTask

SIZES = ((8, 8, 1), (16, 16, 3), (32, 33, 3), (15, 70, 2), (64, 64, 3), (84, 84, 4))
KEYS = {"eye": (9, 8, 3), "hand": (16, 11, 1)}
SEEN = {"mixed": 3, "images": 0}
POSTERIORS = {"decoupled": False, "recurrent": True}

seen = pytest.mark.parametrize("size", SEEN.values(), ids=SEEN)
posteriors = pytest.mark.parametrize("recurrent", POSTERIORS.values(), ids=POSTERIORS)


def rows(size: int) -> list[dict[str, np.ndarray]]:
    random, made = np.random.default_rng(1), []
    for x in vectors():
        count = len(x["is_first"])
        images = {
            key: random.integers(256, size=(count, *shape), dtype=np.uint8)
            for key, shape in KEYS.items()
        }
        made.append(x | images | {"observation": x["observation"][:, :size]})
    return made


def about(size: int) -> TrajectorySpec:
    shapes = {"a": [size], **{key: [*shape] for key, shape in KEYS.items()}}
    return TrajectorySpec(Moments.of(rows(size)), shapes)


def network(size: int, recurrent: bool = False) -> RSSM:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, mlp_size=8)
    kind = Categorical(3, 4)
    made = RSSM(encoder, about(size), kind, recurrent_posterior=recurrent, image_width=2)
    for parameter in made.double().parameters():
        nn.init.normal_(parameter, std=0.4)
    return made.eval()


def whole(size: int) -> dict[str, Tensor]:
    return double(padded([Whole(rows(size))[i] for i in range(len(LENGTHS))]))


def packed(size: int) -> tuple[dict[str, Tensor], list[int]]:
    windows = PackedWindows(rows(size), sum(LENGTHS) + len(LENGTHS) - 1)
    order = windows._order(5)[0].tolist()
    return double({key: x[None] for key, x in windows[5, 0, False].items()}), order


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_images_of_any_size_go_there_and_back(shape):
    encoder, decoder = ImageEncoder(shape, 4).double(), ImageDecoder(shape, 5, 4).double()
    image = torch.randint(256, (2, 3, *shape), dtype=torch.uint8)
    features = encoder(image)
    assert features.shape == (2, 3, encoder.size) and encoder.size < 2 * image[0, 0].numel() + 99
    assert (features[1, 2] - encoder(image[1:, 2])[0]).abs().max() <= CLOSE
    floats = image.double().requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(floats).square().sum(), floats)
    assert gradient.all(), "a pixel that is not read"
    code = torch.randn(2, 3, 5).double()
    assert (decoder(code) == decoder.mean).all(), "it begins at the mean colour"
    nn.init.normal_(decoder.convolutions[-1].weight)
    decoded = decoder(code)
    assert decoded.shape == image.shape
    assert (decoded - decoded[:1, :1]).flatten(0, 1)[1:].all(), "a pixel that no code changes"
    assert (decoded[1, 2] - decoder(code[1:, 2])[0]).abs().max() <= CLOSE


def test_bytes_become_floats_around_zero():
    encoder, found = ImageEncoder((8, 8, 1), 2), []
    encoder.convolutions[0].register_forward_pre_hook(lambda _, x: found.append(x[0]))
    encoder(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 8, 8, 1))
    assert found[0].shape == (3, 1, 8, 8)
    assert found[0][:, 0, 0, 0].tolist() == pytest.approx([-0.5, -0.3, 0.5])


@seen
@posteriors
def test_packed_images_equal_separate_ones(size, recurrent):
    net, (batch, order) = network(size, recurrent), packed(size)
    assert batch["eye"].dtype == torch.uint8
    together, apart = net(batch)[0], net(whole(size))[0]
    for name in ("posterior", "prior", "decoded", "code"):
        separate = torch.cat([getattr(apart, name)[i, : LENGTHS[i] + 1] for i in order])
        assert (getattr(together, name)[0, : len(separate)] - separate).abs().max() <= 10 * CLOSE


@seen
def test_one_pass_equals_the_loop(size):
    net, batch = network(size), whole(size)
    expected, (_, features) = net(batch)
    found = net._one_by_one(batch, None)
    assert (torch.cat([found[0], found[2]], dim=-1) - expected.code).abs().max() <= CLOSE
    assert (found[0][:, -1] - features).abs().max() <= CLOSE


@seen
@posteriors
def test_imagined_images_are_the_loop_over_the_prior(size, recurrent):
    net, batch = network(size, recurrent), whole(size)
    rollout = open_loop(net, batch, context=4, horizon=3)
    found, truth, start = rollout.prediction, rollout.truth, rollout.start
    assert start.shape == (3, size) and truth.shape == (3, 3, size) == found.observation.shape
    last, features = net({key: x[:, :4] for key, x in batch.items()})[1]
    parts = [net.scaled(batch["observation"][:, 3])]
    parts += [net.eyes.encoders[i](batch[key][:, 3]) for i, key in enumerate(KEYS)]
    z = net.latent.mean(net.posterior(torch.cat([*parts, *[features] * recurrent], dim=-1)))
    for step in range(3):
        action = net.scaled_action(batch["prev_action"][:, 4 + step])
        features, last = net.encoder.step(net.project(torch.cat([z, action], dim=-1)), last)
        z = net.latent.mean(net.prior(features))
        for decoder, key in zip(net.eyes.decoders, KEYS, strict=True):
            frame = decoder(torch.cat([features, z], dim=-1)).clamp(0, 1)
            assert found.images[key].shape == (3, 3, *KEYS[key])
            assert (found.images[key][:, step] - frame).abs().max() <= CLOSE
    assert ((frame > 0) & (frame < 1)).any(), "all is clamped"


def test_one_observation_serves_all_actions():
    net, batch = network(3), whole(3)
    state = net({key: x[:1, :4] for key, x in batch.items()})[1]
    state, actions = expand(state, 3), batch["prev_action"][:, 4:7]
    one = {key: batch[key][:1, 3] for key in ("observation", *KEYS)}
    alike = {key: x.expand(3, *x.shape[1:]) for key, x in one.items()}
    found, expected = (net.imagine(x, actions, state)[0] for x in (one, alike))
    assert (found.reward - expected.reward).abs().max() <= CLOSE
    assert (found.images["eye"] - expected.images["eye"]).abs().max() <= CLOSE
    step = net.step(one, actions[:, 0], state)[0]
    assert (step.images["eye"] - found.images["eye"][:, 0]).abs().max() <= CLOSE


@seen
def test_no_gradient_goes_from_images_across_a_reset(size):
    net, (batch, order) = network(size).train(), packed(size)
    begin = LENGTHS[order[0]] + 1
    inputs = {key: batch[key].double().requires_grad_() for key in KEYS}
    code = net(batch | inputs)[0].code[:, begin:]
    loss = net.eyes.errors(code, {key: batch[key][:, begin:] for key in KEYS}).sum()
    for gradient in torch.autograd.grad(loss, [*inputs.values()]):
        assert not gradient[0, :begin].any() and gradient[0, begin:].any()


def test_the_loss_is_relative_to_the_variance_of_images_and_counts_no_padding():
    torch.manual_seed(0)
    task = WorldTask(Encoder(8, 1, mlp_size=8), about(3), Categorical(3, 4), image_width=2)
    batch = whole(3)
    task = task.double().eval().requires_grad_(False)
    loss, parts, _ = task.losses(batch)
    code, expected = task.network(batch)[0].code, 0.0
    truths = {key: torch.cat([torch.from_numpy(x[key]) for x in rows(3)]) for key in KEYS}
    for i in range(len(LENGTHS)):
        for key, decoder in zip(KEYS, task.network.eyes.decoders, strict=True):
            frames = decoder(code[i, : LENGTHS[i] + 1])
            truth = batch[key][i, : LENGTHS[i] + 1].double() / 255
            spread = truths[key].double().div(255).flatten(0, 2)
            spread = (spread - spread.mean(0)).square().mean()
            expected += float((frames - truth).square().mean((-1, -2, -3)).sum() / spread) * 500
    assert parts["image"].item() == pytest.approx(expected / int(batch["mask"].sum()))
    other = {key: x.clone() for key, x in batch.items()}
    for key in KEYS:
        other[key][~batch["mask"]] = 77
    assert task.losses(other)[0].item() == pytest.approx(loss.item())


def test_images_of_which_little_changes_are_learnt():
    """A dot of a thirtieth of the image, which is all that is to be seen."""
    random, moved = np.random.default_rng(0), []
    for number in range(64):
        images = np.full((13, 16, 16, 3), (0, 40, 90), np.uint8)
        place, actions = random.integers(13, size=2), random.integers(-3, 4, (12, 2)).astype(float)
        for step in range(13):
            row, column = place
            images[step, row : row + 3, column : column + 3] = 255, 120, 0
            place = (place + actions[step % 12].astype(int)).clip(0, 13)
        moved.append(make_episode(f"{number}", images, actions, np.zeros(12), terminated=False))
    data = TrajectoryData(InMemory(Recording(moved)), sequence_length=13)
    color, _ = data.spec.moments.images["observation_image"]
    assert color == pytest.approx([0.0352, 0.1679, 0.3405], abs=1e-3)
    torch.manual_seed(0)
    task = WorldTask(Encoder(48, 1, mlp_size=48), data.spec)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    for _ in range(60):
        for batch in data.train_dataloader():
            loss, *_ = task.losses(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        parts = [task.eval().losses(batch)[1]["image"] for batch in data.val_dataloader()]
    assert torch.stack(parts).mean() < 0.5 * 500, "the mean colour costs 500"


def test_decoders_of_version_0_1_keep_their_norms():
    before, after = (ImageDecoder((16, 12, 3), 5, 4) for _ in range(2))
    before.norms = nn.ModuleList(RMSNorm(x.in_channels) for x in before.convolutions)
    for parameter in before.parameters():
        nn.init.normal_(parameter)
    after.load_state_dict(before.state_dict())
    code = torch.randn(7, 5)
    assert torch.equal(after(code), before(code))


def test_image_errors_by_horizon():
    batch = {"eye": torch.zeros(2, 8, 8, 8, 1, dtype=torch.uint8)}
    batch["mask"] = torch.ones(2, 8, dtype=torch.bool)
    batch["mask"][1, 4:] = False
    batch["eye"][:, 2] = 51  # the last that is seen
    batch["eye"][1, 4:] = 99  # is not there
    guess = torch.full((2, 5, 8, 8, 1), 0.1)
    metric = ImageError(10)
    metric.update({"eye": guess}, batch, 3)
    found = metric.compute()
    names = ("rollouts", "mse", "psnr", "skill")
    assert [*found] == [f"image_{name}@{h}" for h in (1, 5) for name in names]
    for h in (1, 5):
        assert found[f"image_rollouts@{h}"] == (2 if h == 1 else 1)
        assert found[f"image_mse@{h}"] == pytest.approx(0.01)
        assert found[f"image_psnr@{h}"] == pytest.approx(20)
        assert found[f"image_skill@{h}"] == pytest.approx(0.5)
    nothing = ImageError(10)
    nothing.update({}, batch, 3)
    assert nothing.compute() == {}


OBSERVATIONS = {
    "alone": (lambda image: image, ["observation_image"]),
    "mixed": (lambda image: {"b": np.ones(2), "eye": image, "a": np.zeros(1)}, ["eye"]),
    "names": (lambda image: {"mask": image, "observation": np.ones(2)}, ["mask_image"]),
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_an_observation_is_a_row_of_its_episode(name):
    make, images = OBSERVATIONS[name]
    frames = np.random.default_rng(0).integers(256, size=(3, 9, 8, 3), dtype=np.uint8)
    observations = [make(frame[::-1]) for frame in frames]
    stacked = np.stack(observations) if name == "alone" else None
    if stacked is None:
        stacked = {k: np.stack([x[k] for x in observations]) for k in observations[0]}
    episode = make_episode("e", stacked, [[0.0]] * 2, [0.0] * 2, False)
    together = align_episode(episode, Layout.of([episode]))
    for t, observation in enumerate(observations):
        found = observation_row(observation)
        assert [*found] == ["observation", *images]
        for key, x in found.items():
            assert x.dtype == together[key].dtype and np.array_equal(x, together[key][t])
            assert torch.from_numpy(x).is_contiguous()


def test_images_that_cannot_be_read_are_refused():
    small = TrajectorySpec(about(0).moments, {"eye": [7, 9, 3]})
    with pytest.raises(InputError, match="at least 8 by 8 pixels, got 7 by 9; enlarge it"):
        WorldTask(Encoder(8, 1), small)
    with pytest.raises(InputError, match="image_width: expected at least 1, got 0"):
        WorldTask(Encoder(8, 1), about(0), image_width=0)
    with pytest.raises(InputError, match="got images: eye, hand; use WorldTask"):
        DynamicsTask(Encoder(8, 1), about(0))
