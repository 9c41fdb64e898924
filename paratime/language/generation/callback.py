"""A callback that shows samples of a language model."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask


class TextSamples(Callback):
    """Log a sample to TensorBoard after each validation, and print one after training.

    Args:
        prompt: Text to continue.
        max_new_tokens: Maximum number of tokens in a sample.
        temperature: Temperature of the samples.
    """

    def __init__(
        self, prompt: str = "", max_new_tokens: int = 300, temperature: float = 0.8
    ) -> None:
        self.prompt = prompt
        self.sampling = Sampling(max_new_tokens, temperature=temperature, seed=0)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a sample."""
        if trainer.sanity_checking or not isinstance(trainer.logger, TensorBoardLogger):
            return
        text = "```\n" + self._sample(pl_module) + "\n```"
        trainer.logger.experiment.add_text("sample", text, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a sample."""
        if trainer.is_global_zero:
            heading = f"a sample, temperature {self.sampling.temperature}"
            print(f"\n--- {heading} ---\n{self._sample(pl_module)}\n{'-' * (len(heading) + 8)}")

    def _sample(self, module: LightningModule) -> str:
        assert isinstance(module, LanguageTask)
        return self.prompt + "".join(generate(module, self.prompt, self.sampling))
