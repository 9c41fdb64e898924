"""``torch.compile`` as a line of a config: ``--trainer.callbacks+=CompileBlocks``."""

from lightning.pytorch import Callback, LightningModule, Trainer

from paratime.layers.block import Block


class CompileBlocks(Callback):
    """Compile the blocks of encoders, one by one: they are alike, so that one graph serves all.

    Checkpoints, names of weights and ``step`` stay as they are.

    Args:
        backend: What compiles; ``inductor`` needs a C++ compiler, or Triton on a GPU.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have every block compiled when it is first called."""
        for module in pl_module.modules():
            if isinstance(module, Block) and module._compiled_call_impl is None:
                module.compile(backend=self.backend)
