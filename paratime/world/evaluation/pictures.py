"""Pictures of a few validation rollouts for TensorBoard."""

import warnings
from functools import cache

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from paratime.world.evaluation.scenes import Scenes, scenes_of
from paratime.world.model.base import WorldModel

EPISODES, NUMBERS = 4, 3


def show(
    trainer: Trainer, network: WorldModel, batch: dict[str, Tensor], context: int, horizon: int
) -> None:
    """Log a film of the first episodes of a batch, and its end, where there is TensorBoard.

    Without matplotlib there are none, and one warning says so.
    """
    writers = [x.experiment for x in trainer.loggers if isinstance(x, TensorBoardLogger)]
    if not writers or not trainer.is_global_zero:
        return
    few = {key: x[:EPISODES] for key, x in batch.items()}
    try:
        pictures = drawings(scenes_of([network], few, context, horizon))
    except ImportError as error:
        warn_once(f"no pictures of rollouts: {error}; pip install 'paratime[world]'")
        return
    for writer in writers:
        for name, (data, height, width) in pictures.items():
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=data
            )
            summary = Summary(value=[Summary.Value(tag=f"rollouts/{name}", image=image)])
            writer._get_file_writer().add_summary(summary, trainer.global_step)


def drawings(scenes: Scenes) -> dict[str, tuple[bytes, int, int]]:
    """Return an encoded film and its last frame with their heights and widths, by name."""
    from paratime.world.evaluation.charts import film
    from paratime.world.evaluation.video import encoded, image_film, still

    frames = [*(image_film(scenes) if scenes.images else film(scenes, NUMBERS))]
    size = frames[0].shape[:2]
    return {"film": (encoded(frames), *size), "figure": (still(frames[-1]), *size)}


@cache
def warn_once(message: str) -> None:
    """Warn, the first time."""
    warnings.warn(message, stacklevel=3)
