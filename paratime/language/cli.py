"""The commands of the language slice beside Lightning's."""

from paratime.language.generate import generate
from paratime.language.prepare import prepare
from paratime.language.sources import SOURCES
from paratime.language.task import LanguageTask
from paratime.language.tokenizer import TOKENIZERS
from paratime.parser import check_checkpoint, run_commands

NAMED = (*SOURCES, *TOKENIZERS)
"""Classes that the command line may name without their modules, because they are imported here."""


def generate_text(
    ckpt_path: str,
    prompt: str = "",
    max_new_tokens: int = 500,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int | None = None,
) -> None:
    """Continue a prompt with a trained model, streaming to the terminal.

    Args:
        ckpt_path: Checkpoint of a language model that ``paratime fit`` trained.
        prompt: Text to continue, as the beginning of a document.
        max_new_tokens: Most tokens to generate.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Sample among the k most likely tokens only.
        seed: Seed of the samples; another text each time by default.
    """
    check_checkpoint(ckpt_path)
    task = LanguageTask.load_from_checkpoint(ckpt_path, map_location="cpu")
    pieces = generate(
        task,
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
    )
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def main() -> None:
    """Run ``paratime language ...`` from ``sys.argv``."""
    run_commands("paratime language", {"generate": generate_text, "prepare": prepare}, str(__doc__))
