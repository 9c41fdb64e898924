"""The options of ``paratime fit, validate, test, predict``, in the order that they matter."""

_OPTIONS = (
    "Options may stand in a config, -c FILE, and on the command line, which takes precedence."
)

ABOUT = {
    "fit": f"Train a model; print its scores and its checkpoint. {_OPTIONS}",
    "validate": f"Score a checkpoint on the validation data. {_OPTIONS}",
    "test": f"Score a checkpoint on the test data. {_OPTIONS}",
    "predict": f"Save the predictions of a checkpoint. {_OPTIONS}",
}
"""First lines of the help, by command."""

_TASK = {
    "What is trained, on what": {
        "model": "The task. Its options follow, such as --model.encoder.width 64.",
        "data": "The data. Its options follow, such as --data.batch_size 16.",
        "ckpt_path": "Checkpoint to continue from, or to score.",
        "seed_everything": "Seed of all random values; true draws one.",
    },
}
_TRAINING = {
    "How long": {
        "trainer.max_steps": "Optimiser steps; -1 for no limit.",
        "trainer.max_epochs": "Epochs; -1 for no limit.",
        "trainer.max_time": "Time, as DAYS:HOURS:MINUTES:SECONDS.",
        "trainer.min_steps": "Optimiser steps before a callback may end the run.",
        "trainer.min_epochs": "Epochs before a callback may end the run.",
    },
    "When to validate": {
        "trainer.val_check_interval": "Training batches (INT), a share of an epoch (FLOAT), or a"
        " time.",
        "trainer.check_val_every_n_epoch": "Validate after this many epochs only.",
        "trainer.num_sanity_val_steps": "Validation batches to try before training.",
        "trainer.limit_train_batches": "Batches of an epoch (INT), or their share (FLOAT).",
    },
    "Steps": {
        "trainer.accumulate_grad_batches": "Batches of an optimiser step.",
        "trainer.gradient_clip_val": "Largest gradient; no limit by default.",
        "trainer.gradient_clip_algorithm": "Whether that limits their norm or each value: norm or"
        " value.",
        "trainer.overfit_batches": "Train and validate on so few batches (INT), or on a share of"
        " them (FLOAT).",
    },
}
_ALL = {
    "How much of the data": {
        "trainer.limit_val_batches": "Batches of a validation (INT), or their share (FLOAT).",
        "trainer.limit_test_batches": "Likewise, of a test.",
        "trainer.limit_predict_batches": "Likewise, of predict.",
    },
    "Devices": {
        "trainer.accelerator": "cpu, gpu, tpu, mps or auto.",
        "trainer.devices": "How many devices, which, or auto.",
        "trainer.precision": "32-true (by default), bf16-mixed, 16-mixed, bf16-true, 16-true or"
        " 64-true.",
        "trainer.num_nodes": "Machines of the run.",
        "trainer.strategy": "How processes share the work: auto, ddp, fsdp, ..., or a class.",
    },
    "Records": {
        "trainer.logger": "Where scores are logged: false for nowhere, or a class.",
        "trainer.log_every_n_steps": "Optimiser steps from one logged point to the next.",
        "trainer.callbacks": "Callbacks, each as --trainer.callbacks+ CLASS, with its options after"
        " it, as --trainer.callbacks.monitor val/loss.",
        "trainer.enable_checkpointing": "Whether to keep checkpoints; true by default.",
        "trainer.enable_progress_bar": "Whether to show progress; true by default.",
        "trainer.enable_model_summary": "Whether to list the model's parts; true by default.",
        "trainer.default_root_dir": "Folder of records and checkpoints where a logger names none.",
    },
    "Looking for faults": {
        "trainer.fast_dev_run": "Try the run on one batch, or on this many, without records.",
        "trainer.deterministic": "Whether operations must give the same values each time.",
        "trainer.detect_anomaly": "Whether to look for NaN in gradients.",
        "trainer.profiler": "What measures the parts of a step: simple, advanced, pytorch, or a"
        " class.",
    },
}

GROUPS = {
    "fit": _TASK | _TRAINING | _ALL,
    "validate": _TASK | _ALL,
    "test": _TASK | _ALL,
    "predict": _TASK | _ALL,
}
"""Descriptions by option, by heading, by command."""

REST = "Less common options, of Lightning (lightning.ai/docs)"
