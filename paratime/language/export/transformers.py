"""Exported models in transformers: importing this module registers them with its Auto classes.

    import paratime.language.export.transformers
    model = AutoModelForCausalLM.from_pretrained(folder)

The folder is one that ``paratime language export``, or ``save_pretrained``, wrote.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.generation.utils import GenerationMode
from transformers.utils import ModelOutput

from paratime.errors import InputError
from paratime.language.export.safetensors import MODEL_TYPE, build_task
from paratime.language.model.task import LanguageTask
from paratime.layers.mixer import State


class ParatimeConfig(PreTrainedConfig):
    """How to build a ``LanguageTask``.

    Args:
        model: Its class and arguments, as plain data.
        options: Other options of transformers, such as ``bos_token_id``.
    """

    model_type = MODEL_TYPE

    def __init__(self, model: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.model = model


@dataclass
class ParatimeOutput(ModelOutput):
    """The output of the model.

    Attributes:
        loss: Mean cross-entropy of the labels in nats, if labels are given.
        logits: (B, T, vocab_size).
        state: The state after the last token, for the next call.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: State = None


class ParatimeForCausalLM(PreTrainedModel, GenerationMixin):
    """A ``LanguageTask`` as transformers' ``PreTrainedModel``.

    ``generate`` carries the state from token to token: a token costs the same at any length. Tokens
    outside the attention mask are ignored, wherever they are, so that a padded sequence gives the
    same result as the sequence alone.

    Args:
        config: How to build the model.

    Raises:
        InputError: The config has no model.
    """

    config_class = ParatimeConfig
    base_model_prefix = "model"
    _is_stateful = True
    _supported_generation_modes = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)

    def __init__(self, config: ParatimeConfig) -> None:
        super().__init__(config)
        if config.model is None:
            raise InputError("model", "its class and arguments", "None", "load an exported folder")
        with torch.device("cpu"):  # constants that modules compute are not in the weights
            self.model: LanguageTask = build_task(config.model)
        if self.model.head.weight is self.model.embedding.weight:
            config.tie_word_embeddings = True
            self._tied_weights_keys = {"model.head.weight": "model.embedding.weight"}
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: State = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
    ) -> ParatimeOutput | tuple[Any, ...]:
        """Return logits, the state, and the loss of labels.

        Args:
            input_ids: (B, T).
            attention_mask: Nonzero at tokens, (B, T), or longer by the tokens that ``state`` has
                read; elsewhere logits are zero.
            state: The state before the first of these tokens.
            labels: The ids again, -100 where they do not count, (B, T); they are shifted here.
            use_cache: Accepted for ``generate``; a state is always returned.
            return_dict: Whether to return a ``ParatimeOutput`` (the default) or a tuple.
        """
        mask = None if attention_mask is None else attention_mask[:, -input_ids.shape[1] :].bool()
        mask = None if mask is None or bool(mask.all()) else mask
        logits, state = self._read(input_ids, mask, state)
        loss = None if labels is None else _loss(logits, labels, mask)
        output = ParatimeOutput(loss, logits, state)
        return output.to_tuple() if return_dict is False else output

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: State = None,
        use_cache: bool | None = True,
        is_first_iteration: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Return the next inputs of ``forward``: the prompt, or the last token and a state.

        Raises:
            InputError: A prompt is padded on the right.
        """
        if not is_first_iteration and state is not None and use_cache:
            return {"input_ids": input_ids[:, -1:], "state": state}
        if attention_mask is not None and not attention_mask[:, -1].all():
            raise InputError(
                "attention_mask", "padding on the left", "right", "set padding_side = 'left'"
            )
        return {"input_ids": input_ids, "attention_mask": attention_mask, "state": state}

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding."""
        return self.model.embedding

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.model.head

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """Disable the cache of keys and values."""
        return False

    def _init_weights(self, module: nn.Module) -> None:
        """Keep the weights that modules initialise themselves with."""

    def _update_model_kwargs_for_generation(
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], *rest: Any, **options: Any
    ) -> dict[str, Any]:
        kept = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *rest, **options)
        return kept | {"state": outputs["state"]} if kept.get("use_cache", True) else kept

    def _read(self, ids: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Return logits (B, T, vocab_size) and the state; skip tokens outside the mask."""
        if mask is None and state is not None and ids.shape[1] == 1:
            logits, state = self.model.step(ids[:, 0], state)
            return logits.unsqueeze(1), state
        if mask is None:
            return self.model(ids, state)
        order = mask.int().argsort(dim=1, descending=True, stable=True)
        logits, state = self.model(ids.gather(1, order), state, lengths=mask.sum(1))
        place = order.argsort(dim=1).unsqueeze(-1)
        return logits.gather(1, place.expand_as(logits)), state


def _loss(logits: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of labels that follow a token of the mask."""
    targets = labels[:, 1:]
    if mask is not None:
        targets = targets.masked_fill(~mask[:, :-1], -100)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten())


AutoConfig.register(MODEL_TYPE, ParatimeConfig)
AutoModelForCausalLM.register(ParatimeConfig, ParatimeForCausalLM)
