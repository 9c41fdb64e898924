"""``paratime language export``: a model for other programs."""

from paratime.io.atomic import check_new
from paratime.language.export.safetensors import export_checkpoint


def export_model(ckpt_path: str, out: str, step: bool = False) -> None:
    """Write a model as safetensors, a config and a tokenizer, which transformers can load.

    After ``import paratime.language.export.transformers``, transformers' AutoModelForCausalLM.from_pretrained takes
    the folder; so do paratime.language.export.safetensors.from_exported, and --ckpt_path of paratime language.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        out: Folder to write, new or empty.
        step: Whether to write step.pt2, too: a program of torch.export that maps a token and a
            state to logits and a state, for any number of sequences; state.pt is the first state.
    """
    check_new(out)
    export_checkpoint(ckpt_path, out, step=step)
    print(f"{'model':<20} {out}")
