"""``paratime language generate``: text from a trained model."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from paratime.cli.arguments import unescaped
from paratime.errors import InputError, abridged
from paratime.io.atomic import replacing
from paratime.io.paths import expanded
from paratime.language.generation.sampling import Sampling

if TYPE_CHECKING:
    from paratime.language.generation.generate import Completion
    from paratime.language.model.network import LanguageNetwork


def run(
    ckpt_path: str,
    prompt: str = "",
    prompts: str | None = None,
    samples: int = 1,
    out: str | None = None,
    batch_size: int = 16,
    max_new_tokens: int = 500,
    repetition_penalty: float = 1.0,
    repetition_window: int | None = None,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop: str | list[str] | None = None,
    ignore_eos: bool = False,
    seed: int | None = None,
) -> None:
    r"""Continue prompts with a trained model: one, as it is generated, or many at a time.

    Args:
        ckpt_path: Checkpoint of paratime fit, or folder of paratime language export.
        prompt: Text to continue, as the beginning of a document. In it and in stop, \n, \t, \r and
            \\ mean a newline, a tab, a return and a backslash.
        prompts: File of prompts, one per line; in a .jsonl file, each line is a text or an object
            with a "prompt".
        samples: Number of texts for each prompt.
        out: File to write texts to instead of printing them, one object per line: prompt, sample,
            text, reason (document, stop or length) and tokens.
        batch_size: Number of texts that are generated at a time.
        max_new_tokens: Maximum number of tokens to generate.
        repetition_penalty: Values above 1 make tokens that occurred less likely.
        repetition_window: Number of last tokens that count as having occurred; all by default.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Sample among the k most likely tokens only.
        top_p: Sample among the fewest most likely tokens whose probabilities add up to this.
        min_p: Sample among tokens at least this times as likely as the most likely one.
        stop: Texts before which generation ends: one, or several as '["\n\n", "END"]'.
        ignore_eos: Whether to write on where the model would end the document, up to
            max_new_tokens or a stop.
        seed: Seed of the samples; by default each call gives another text.
    """
    from paratime.language.export.safetensors import load_model
    from paratime.language.generation.generate import complete

    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        repetition_penalty=repetition_penalty,
        repetition_window=repetition_window,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        stop=tuple(map(unescaped, [stop] if isinstance(stop, str) else stop or [])),
        ignore_eos=ignore_eos,
        seed=seed,
    )
    if prompt and prompts is not None:
        raise InputError("prompt", "one prompt, or a file of them", "both", "leave one of them out")
    given = [unescaped(prompt)] if prompts is None else read_prompts(expanded(prompts))
    task = load_model(ckpt_path)
    if len(given) * samples == 1 and out is None:
        print_stream(task, given[0], sampling)
        return
    texts = complete(task, given, sampling, samples=samples, batch_size=batch_size)
    bar = tqdm(texts, total=len(given) * samples, unit="text", delay=1, leave=False)
    if out is not None:
        write_completions(bar, out)
        return
    for text in bar:
        bar.clear()
        quoted = abridged(repr(text.prompt))
        heading = f"--- prompt {quoted}, sample {text.sample + 1} of {samples} ---"
        print(f"{heading}\n{text.prompt}{text.text}\n")


def print_stream(task: "LanguageNetwork", prompt: str, sampling: Sampling) -> None:
    """Print a prompt and its continuation, as it is generated."""
    from paratime.language.generation.generate import generate

    pieces = generate(task, prompt, sampling)
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def write_completions(texts: Iterable["Completion"], out: str) -> None:
    """Write texts to a file, completely or not at all.

    Raises:
        InputError: There is a folder with that name.
    """
    if Path(out).is_dir():
        raise InputError("out", "a file", f"a folder, {out!r}", "name a file in it")
    with replacing(out) as draft, open(draft, "w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps(asdict(text), ensure_ascii=False) + "\n")
    print(f"{'texts':<24} {out}")


def read_prompts(path: str) -> list[str]:
    """Return the prompts of a file, without blank lines.

    Raises:
        InputError: The file cannot be read, it has no prompt, or a line is no prompt.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "prompts", "a file of UTF-8 text", repr(path), "give a text file with a prompt a line"
        ) from error
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise InputError("prompts", "at least one line with text", "none", "write a prompt a line")
    if not path.endswith(".jsonl"):
        return [line.removesuffix("\r") for line in lines]
    return [_prompt_of(line) for line in lines]


def _prompt_of(line: str) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        value = None
    prompt = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(prompt, str):
        raise InputError(
            "prompts", 'lines like {"prompt": "..."}', repr(line), "see generate --help"
        )
    return prompt
