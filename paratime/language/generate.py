"""Text from a language model, token by token, at a constant cost a token."""

from collections.abc import Iterator

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.language.task import LanguageTask
from paratime.language.tokenizer import from_spec


@torch.inference_mode()
def generate(
    task: LanguageTask,
    prompt: str = "",
    *,
    max_new_tokens: int = 500,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Yield text that continues a prompt, as it is generated.

    The prompt is encoded in parallel over time; then each token is one ``step`` from the carried
    state, so that cost and memory a token do not depend on the position. Generation stops where
    the model starts a new document.

    Args:
        task: The model.
        prompt: Text to continue, as the beginning of a document.
        max_new_tokens: Most tokens to generate.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Sample among the k most likely tokens only; all by default.
        seed: Seed of the samples; another text each time by default.

    Raises:
        InputError: An option out of range, or a model without a tokenizer.
    """
    _check(task, temperature, top_k, max_new_tokens)
    assert task.tokenizer is not None
    tokenizer, training = from_spec(task.tokenizer), task.training
    decode, sampler = tokenizer.decoder(), torch.Generator()
    sampler.seed() if seed is None else sampler.manual_seed(seed)
    ids = [tokenizer.start, *tokenizer.encode(prompt).tolist()]
    task.eval()
    try:
        logits, state = task(torch.tensor([ids], device=task.device))
        logits = logits[:, -1]
        for _ in range(max_new_tokens):
            token = _draw(logits[0], temperature, top_k, sampler)
            if token == tokenizer.start:
                break
            yield decode(token)
            logits, state = task.step(torch.tensor([token], device=task.device), state)
        yield decode(tokenizer.start)
    finally:
        task.train(training)


def _draw(logits: Tensor, temperature: float, top_k: int | None, sampler: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    logits = logits.float().cpu() / temperature
    if top_k is not None and top_k < logits.numel():
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return int(torch.multinomial(logits.softmax(-1), 1, generator=sampler))


def _check(task: LanguageTask, temperature: float, top_k: int | None, max_new_tokens: int) -> None:
    if task.tokenizer is None:
        remedy = "pass tokenizer=ByteTokenizer().spec() to LanguageTask"
        raise InputError("tokenizer", "a model that knows its tokenizer", "None", remedy)
    if not temperature >= 0:
        raise InputError("temperature", "at least 0", str(temperature), "0 is greedy")
    if top_k is not None and top_k < 1:
        raise InputError("top_k", "at least 1", str(top_k), "leave it out to sample from all")
    if max_new_tokens < 1:
        raise InputError("max_new_tokens", "at least 1", str(max_new_tokens), "raise it")
