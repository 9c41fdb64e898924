"""``paratime language export``: a model for other libraries and programs."""

from paratime.io.atomic import check_new


def run(ckpt_path: str, out: str, step: bool = False) -> None:
    """Write a model as safetensors, a config and a tokenizer, which transformers can load.

    After "from paratime.language import ParatimeForCausalLM", AutoModelForCausalLM.from_pretrained
    of transformers loads the folder; so do paratime.language.from_exported, and --ckpt_path of
    paratime language.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        out: Folder to write, new or empty.
        step: Whether to write also step.pt2, a program of torch.export that maps a token and a
            state to logits and a state, for any number of sequences, and its first state, state.pt.
    """
    from paratime.language.export.safetensors import export_checkpoint

    check_new(out)
    export_checkpoint(ckpt_path, out, step=step)
    print(f"{'model':<20} {out}")
