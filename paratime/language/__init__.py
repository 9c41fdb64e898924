"""Language models: text to tokens, training, generation, evaluation and export.

- Training: ``LanguageTask`` with ``TokenData``, ``TokenSpec``, ``WidthTransfer``, ``TextSamples``,
  ``next_token_loss`` and ``next_token_loss_reference``.
- Documents: ``Document``, ``HoldOut``, and a ``Source``: ``TextFiles``, ``JsonLines``, ``Parquet``,
  ``HuggingFace``, ``TokenFiles``, ``LitData``, ``PreparedCorpus``, ``InMemory``, ``Splits``,
  ``Quickstart``, ``Shakespeare`` or ``PythonReference``; ``CorpusBuilder`` writes them to disk.
- Tokenizers: a ``Tokenizer``, such as ``ByteTokenizer``, or a ``TokenizerRecipe``: ``Characters``,
  ``BPE``, ``TokenizerFile`` or ``Tiktoken``; and ``tokenizer_from_spec``.
- Generation: ``generate``, ``complete`` (to a ``Completion``) and ``Sampling``; step by step with
  ``Sampler``, ``prefill``, ``stepper`` and ``TorchStepper``.
- Evaluation: ``evaluate`` (to an ``Evaluation``) and ``log_likelihoods``, in a context that is
  ``Carried`` or ``Sliding``; ``ParatimeLM`` is the model of lm-evaluation-harness.
- Export: ``export_task``, ``export_checkpoint``, ``from_exported``, ``load_task``, ``load_step``;
  ``from_transformers`` loads Mamba models; ``ParatimeConfig`` and ``ParatimeForCausalLM`` are the
  classes for transformers, whose import registers them.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.language.data.corpus.builder import CorpusBuilder as CorpusBuilder
    from paratime.language.data.corpus.shards import PreparedCorpus as PreparedCorpus
    from paratime.language.data.datamodule import TokenData as TokenData
    from paratime.language.data.sources.base import Document as Document
    from paratime.language.data.sources.base import InMemory as InMemory
    from paratime.language.data.sources.base import Source as Source
    from paratime.language.data.sources.base import Splits as Splits
    from paratime.language.data.sources.bundled import PythonReference as PythonReference
    from paratime.language.data.sources.bundled import Quickstart as Quickstart
    from paratime.language.data.sources.bundled import Shakespeare as Shakespeare
    from paratime.language.data.sources.text import HuggingFace as HuggingFace
    from paratime.language.data.sources.text import JsonLines as JsonLines
    from paratime.language.data.sources.text import Parquet as Parquet
    from paratime.language.data.sources.text import TextFiles as TextFiles
    from paratime.language.data.sources.tokens import LitData as LitData
    from paratime.language.data.sources.tokens import TokenFiles as TokenFiles
    from paratime.language.data.spec import TokenSpec as TokenSpec
    from paratime.language.data.split import HoldOut as HoldOut
    from paratime.language.evaluation.contexts import Carried as Carried
    from paratime.language.evaluation.contexts import Sliding as Sliding
    from paratime.language.evaluation.evaluate import Evaluation as Evaluation
    from paratime.language.evaluation.evaluate import evaluate as evaluate
    from paratime.language.evaluation.evaluate import log_likelihoods as log_likelihoods
    from paratime.language.export.lm_eval import ParatimeLM as ParatimeLM
    from paratime.language.export.safetensors import export_checkpoint as export_checkpoint
    from paratime.language.export.safetensors import export_task as export_task
    from paratime.language.export.safetensors import from_exported as from_exported
    from paratime.language.export.safetensors import load_task as load_task
    from paratime.language.export.torch_export import load_step as load_step
    from paratime.language.export.transformers import ParatimeConfig as ParatimeConfig
    from paratime.language.export.transformers import ParatimeForCausalLM as ParatimeForCausalLM
    from paratime.language.generation.callback import TextSamples as TextSamples
    from paratime.language.generation.generate import Completion as Completion
    from paratime.language.generation.generate import complete as complete
    from paratime.language.generation.generate import generate as generate
    from paratime.language.generation.sampling import Sampler as Sampler
    from paratime.language.generation.sampling import Sampling as Sampling
    from paratime.language.generation.stepping import TorchStepper as TorchStepper
    from paratime.language.generation.stepping import prefill as prefill
    from paratime.language.generation.stepping import stepper as stepper
    from paratime.language.model.loss import next_token_loss as next_token_loss
    from paratime.language.model.loss import next_token_loss_reference as next_token_loss_reference
    from paratime.language.model.mup import WidthTransfer as WidthTransfer
    from paratime.language.model.pretrained import from_transformers as from_transformers
    from paratime.language.model.task import LanguageTask as LanguageTask
    from paratime.language.tokenizers.base import Tokenizer as Tokenizer
    from paratime.language.tokenizers.base import TokenizerRecipe as TokenizerRecipe
    from paratime.language.tokenizers.bpe import BPE as BPE
    from paratime.language.tokenizers.bpe import TokenizerFile as TokenizerFile
    from paratime.language.tokenizers.catalog import tokenizer_from_spec as tokenizer_from_spec
    from paratime.language.tokenizers.characters import ByteTokenizer as ByteTokenizer
    from paratime.language.tokenizers.characters import Characters as Characters
    from paratime.language.tokenizers.tiktoken import Tiktoken as Tiktoken

__getattr__, __dir__, __all__ = lazy.attach(__name__)
