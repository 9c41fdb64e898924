"""Language models in EleutherAI's lm-evaluation-harness, the package ``lm_eval``.

Importing this module registers the model ``paratime``; running it runs ``lm_eval``:

    python -m paratime.language.export.lm_eval run --model paratime --tasks TASK ...

A model with a class of yours needs ``--trust MODULE``, too.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from torch import Tensor
from tqdm import tqdm

from paratime.cli.arguments import trusted
from paratime.errors import InputError, check_at_least
from paratime.io.saved.trust import trust_modules
from paratime.language.evaluation.contexts import Context, default_context
from paratime.language.evaluation.evaluate import document_ids, log_likelihoods
from paratime.language.export.safetensors import load_task
from paratime.language.generation.generate import complete
from paratime.language.generation.sampling import Sampling
from paratime.language.model.network import tokenizer_of
from paratime.language.model.task import LanguageTask

KNOWN = ("until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "min_p")
"""Supported options of generation; greedy generation needs no others."""

Scored = tuple[tuple[str, str], list[int], list[int]]
"""A request: its texts, the ids of the context, and the ids of the continuation."""


@register_model("paratime")
class ParatimeLM(TemplateLM):
    """A ``LanguageTask`` as a model of the harness.

    Every text is a document of its own, of any length: nothing is truncated. Few-shot contexts and
    the question form one document.

    Args:
        ckpt_path: Checkpoint of ``paratime fit``, or folder of ``paratime language export``.
        batch_size: Number of texts that are scored at a time; "auto" is 16.
        device: Device of torch; cpu if there is no GPU.
        max_batch_size: Not used; the harness passes it to every model.
        task: The model, instead of a checkpoint.
        context: What is read before each token that is scored; see ``default_context``.
    """

    def __init__(
        self,
        ckpt_path: str = "",
        batch_size: int | str = 16,
        device: str = "cpu",
        max_batch_size: int | None = None,
        *,
        task: LanguageTask | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__()
        if not torch.cuda.is_available():
            device = "cpu"  # the harness's own default is cuda
        self.task = load_task(ckpt_path, device) if task is None else task
        self.batch_size = 16 if str(batch_size).startswith("auto") else int(batch_size)
        self.context = default_context(self.task) if context is None else context
        check_at_least(1, batch_size=self.batch_size)
        self._tokenizer = tokenizer_of(self.task)

    @property
    def eot_token_id(self) -> int:
        """Id that starts a document, and thus ends the previous one."""
        return self._tokenizer.start

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **options: Any
    ) -> list[int]:
        """Return the ids of a text, without the document start."""
        return self._tokenizer.encode(string).tolist()

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each whole text, in nats."""
        texts = [request.args[0] for request in requests]
        ids = [document_ids(self._tokenizer, text) for text in texts]
        found = self._score(ids, disable_tqdm)
        results = [float(values.double().sum()) for values, _ in found]
        self._keep("loglikelihood_rolling", requests, results)
        return results

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the continuation of each text, up to any of the strings that end it."""
        asked: Counter[str] = Counter()  # repeated requests have different seeds
        samplings = []
        for prompt, options in (request.args for request in requests):
            samplings.append(_sampling(options, seed=asked[prompt]))
            asked[prompt] += 1
        results = [""] * len(requests)
        bar = tqdm(total=len(requests), desc="generating", disable=disable_tqdm)
        for sampling in dict.fromkeys(samplings):
            rows = [row for row, one in enumerate(samplings) if one == sampling]
            prompts = [requests[row].args[0] for row in rows]
            texts = complete(self.task, prompts, sampling, batch_size=self.batch_size)
            for row, completion in zip(rows, texts, strict=True):
                results[row] = completion.text
                bar.update()
        bar.close()
        self._keep("generate_until", requests, results)
        return results

    def _loglikelihood_tokens(
        self, requests: list[Scored], disable_tqdm: bool = False, **options: Any
    ) -> list[tuple[float, bool]]:
        start, documents = self.eot_token_id, []
        for _, context, continuation in requests:
            before = context if context[:1] == [start] else [start, *context]
            documents.append(torch.tensor([*before, *continuation]))
        found = self._score(documents, disable_tqdm)
        results = []
        for (texts, _, continuation), (values, greedy) in zip(requests, found, strict=True):
            begin = len(values) - len(continuation)
            result = float(values[begin:].double().sum()), bool(greedy[begin:].all())
            self.cache_hook.add_partial("loglikelihood", texts, result)
            results.append(result)
        return results

    def _score(self, documents: Sequence[Tensor], quiet: bool) -> list[tuple[Tensor, Tensor]]:
        """Score documents; one that consists of its start alone has no scores."""
        desc = None if quiet else "scoring"
        size, scored = self.batch_size, [ids for ids in documents if len(ids) > 1]
        found = log_likelihoods(self.task, scored, self.context, batch_size=size, desc=desc)
        following, nothing = iter(found), (torch.zeros(0), torch.zeros(0, dtype=torch.bool))
        return [next(following) if len(ids) > 1 else nothing for ids in documents]

    def _keep(self, method: str, requests: list[Instance], results: list[Any]) -> None:
        """Store results in the harness's cache."""
        for request, result in zip(requests, results, strict=True):
            self.cache_hook.add_partial(method, request.args, result)


def _sampling(options: dict[str, Any], seed: int) -> Sampling:
    """Translate the harness's options of generation; its default is greedy.

    Greedy generation ignores filters; otherwise a top_k of 0 means none, as in transformers.
    """
    options = normalize_gen_kwargs(options)
    temperature = float(options.get("temperature", 0))
    others = options.keys() - KNOWN
    if others and temperature > 0:
        raise InputError(
            "generation_kwargs", f"of {', '.join(KNOWN)}", ", ".join(sorted(others)), "omit them"
        )
    filters = options if temperature > 0 else {}
    return Sampling(
        max_new_tokens=options["max_gen_toks"],
        temperature=temperature,
        top_k=filters.get("top_k") or None,
        top_p=filters.get("top_p"),
        min_p=filters.get("min_p"),
        stop=tuple(end for end in options["until"] if end),
        seed=seed,
    )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    modules, sys.argv[1:] = trusted(sys.argv[1:])
    trust_modules(*modules)
    cli_evaluate()
