"""A few validation rollouts as videos in TensorBoard."""

import warnings
from functools import cache
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary

from paratime.world.evaluation.scenes import make_scenes
from paratime.world.model.task import TrajectoryTask

EPISODES, ROWS = 4, 6


class RolloutVideos(Callback):
    """Logs rollouts of the first episodes in each validation, where there is TensorBoard.

    Without matplotlib it logs none, and warns once.
    """

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log a video, and its last frame, of the first batch of a world model's validation."""
        writers = [x.experiment for x in trainer.loggers if isinstance(x, TensorBoardLogger)]
        skipped = batch_idx > 0 or trainer.sanity_checking or not trainer.is_global_zero
        if skipped or not writers or not isinstance(pl_module, TrajectoryTask):
            return
        try:
            with trainer.precision_plugin.val_step_context():
                images = _images(pl_module, batch)
        except ImportError as error:
            _warn_once(f"no videos of rollouts: {error}; pip install 'paratime[world]'")
            return
        for writer in writers:
            for name, image in images.items():
                summary = Summary(value=[Summary.Value(tag=f"rollouts/{name}", image=image)])
                writer._get_file_writer().add_summary(summary, trainer.global_step)


def _images(task: TrajectoryTask, batch: dict[str, Any]) -> dict[str, Summary.Image]:
    from paratime.world.evaluation.charts import chart_frames
    from paratime.world.evaluation.video import encode_gif, encode_png, image_frames

    few = {key: x[:EPISODES] for key, x in batch.items()}
    scenes = make_scenes([task.network], few, context=task.context, horizon=task.horizon)
    frames = [*(image_frames(scenes) if scenes.images else chart_frames(scenes, ROWS))]
    height, width = frames[0].shape[:2]
    encoded = {"video": encode_gif(frames), "figure": encode_png(frames[-1])}
    return {
        name: Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
        for name, data in encoded.items()
    }


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)
