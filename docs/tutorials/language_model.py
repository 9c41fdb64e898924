"""# A language model

Train a small model on text files, sample from it, score it, and export it. Everything runs on a CPU
in about a minute; the same code trains larger models.
"""

# %%
# ## Text
#
# Any UTF-8 files will do: each is a document. Here they are modules of Python's standard library,
# which every installation has. Documents lie end to end in training windows, with a reset at each
# start, so there is no padding and no state leaks from one document to the next.

import sysconfig
from pathlib import Path

from lightning.pytorch import Trainer

from paratime import Encoder
from paratime.language import LanguageTask, Sampling, TextFiles, TokenData, evaluate, generate

folder = Path(sysconfig.get_path("stdlib"))
names = ("argparse", "ast", "csv", "datetime", "heapq", "json/decoder", "queue", "random", "shlex")
paths = [str(folder / f"{name}.py") for name in names]
data = TokenData(TextFiles(paths), context_length=128, batch_size=8)

# %%
# ## Train
#
# A task is a `LightningModule`: every option of Lightning's `Trainer` works. The encoder stacks
# blocks around a mixer, `ParaGRU` by default.

from paratime.training import AdamW

task = LanguageTask(Encoder(96, depth=2), optimizer=AdamW(lr=5e-3))
trainer = Trainer(
    max_steps=150,
    limit_val_batches=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(task, data)
print(f"{sum(p.numel() for p in task.parameters()):,} parameters")

# %%
# ## Sample
#
# The prompt is read in parallel over time. Then each token is one step from the carried state, at a
# constant cost.

text = "".join(generate(task, "def ", Sampling(temperature=0.7, max_new_tokens=160, seed=0)))
print("def " + text)

# %%
# ## Score
#
# `evaluate` reads each document from its beginning to its end, with the state carried on.

from paratime.language import Document

held_out = Path(folder / "textwrap.py").read_text()
result = evaluate(task, [Document("textwrap", held_out)])
print(result.documents_table().round(3).to_string(index=False))

# %%
# ## Export
#
# An export holds safetensors, a config that says how to build the encoder, and the tokenizer. It
# comes back bit for bit, and loads in transformers. Checkpoints of `paratime fit` know their own
# config: `paratime language export` writes it.

from paratime.language import export_task, from_exported

export_task(task, "exported", {"width": 96, "depth": 2})
again = from_exported("exported")
same = "".join(generate(again, "def ", Sampling(temperature=0.7, max_new_tokens=160, seed=0)))
print(sorted(path.name for path in Path("exported").iterdir()), same == text)

# %%
# ## Next
#
# - `paratime fit -c configs/language/quickstart.yaml` trains on Shakespeare from the command line.
# - [The guide](../guides/language.md): larger corpora, tokenizers, batches of prompts, evaluation.
# - [Scaling out](../guides/scaling.md): bfloat16, sharding, recomputation, muP.
