"""``torch.compile`` as a line of a config: ``--trainer.callbacks+=CompileBlocks``."""

from lightning.pytorch import Callback, LightningModule, Trainer

from paratime.layers.block import Block


class CompileBlocks(Callback):
    """Compile the blocks of encoders one by one: they are alike, so one graph serves all.

    Checkpoints, names of weights and ``step`` do not change.

    Args:
        backend: The compiler; ``inductor`` needs a C++ compiler, or Triton on a GPU.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compile every block at its first call."""
        for module in pl_module.modules():
            if isinstance(module, Block) and module._compiled_call_impl is None:
                module.compile(backend=self.backend)
