"""Checkpoints are written whole or not at all, and the last one is the newest that is whole."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from language.runs import make_data, make_task, make_trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from paratime.errors import InputError
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.training.checkpoints.folders import damage_of, newest_whole, run_folders
from paratime.training.checkpoints.writing import WholeCheckpoints

KILLED = """
import json, os, random, signal, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from pathlib import Path
from paratime.training.checkpoints.folders import damage_of
from paratime.training.checkpoints.writing import WholeCheckpoints
torch.set_num_threads(1)
path, tries = Path(sys.argv[1]), int(sys.argv[2])
content = {"state_dict": {str(i): torch.full((2**16,), float(i)) for i in range(32)}}
damages, drafts = [], []
for number in range(tries):
    child = os.fork()
    if not child:
        while True:
            WholeCheckpoints().save_checkpoint(content, path)
    time.sleep(random.Random(number).uniform(0.005, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    damages.append(damage_of(path) if path.exists() else None)
    drafts.append(len([*path.parent.iterdir()]) - path.exists())
print(json.dumps([damages, drafts, path.exists()]))
"""


def other_file_system(folder):
    """Return a folder that is on another file system than a given one."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or not os.access(shm, os.W_OK):
        pytest.skip("no other file system")
    if shm.stat().st_dev == Path(folder).stat().st_dev:
        pytest.skip("no other file system")
    return tempfile.TemporaryDirectory(dir=shm)


def kill_writers(folder, tries):
    with other_file_system(folder) as elsewhere:
        command = [sys.executable, "-c", KILLED, str(folder / "a.ckpt"), str(tries)]
        run = subprocess.run(
            command, env={**os.environ, "TMPDIR": elsewhere}, capture_output=True, check=True
        )
    return json.loads(run.stdout)


def write(path, seconds, content=b"x"):
    """Write a checkpoint, or something else, as if at a given time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == b"x":
        torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
    else:
        path.write_bytes(content)
    os.utime(path, (1e9 + seconds, 1e9 + seconds))
    return path


def cut(path, share):
    whole = path.read_bytes()
    return whole[: int(share * len(whole))]


def flipped(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    return bytes(whole)


def test_a_kill_while_one_is_written_leaves_a_whole_one(tmp_path):
    damages, drafts, exists = kill_writers(tmp_path, 8)
    assert exists and damages == [None] * 8 and drafts[-1] <= 8


@pytest.mark.slow
def test_many_kills_do(tmp_path):
    damages, _, exists = kill_writers(tmp_path, 200)
    assert exists and damages == [None] * 200


def test_every_trainer_of_a_task_writes_them_whole(tmp_path, monkeypatch):
    """Nothing is staged in TMPDIR, nor left over, by callbacks or by hand."""
    seen = []
    whole = WholeCheckpoints.save_checkpoint

    def save(self, checkpoint, path, storage_options=None):
        seen.append(Path(path).name)
        whole(self, checkpoint, path, storage_options)

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", save)
    callback = ModelCheckpoint(tmp_path / "made", "{step}", every_n_train_steps=1, save_last=True)
    trainer = make_trainer(tmp_path, max_steps=2, callbacks=[callback], limit_val_batches=0)
    trainer.fit(make_task(), make_data(tmp_path))
    trainer.save_checkpoint(tmp_path / "by hand.ckpt")
    assert seen == ["step=1.ckpt", "last.ckpt", "step=2.ckpt", "last.ckpt", "by hand.ckpt"]
    made = [*tmp_path.rglob("*.ckpt")]
    assert len(made) == 3 and all(damage_of(path) is None for path in made)
    assert not [*tmp_path.rglob(".*.paratime-*")]
    assert newest_whole(run_folders(trainer)).name == "last.ckpt"
    read_checkpoint(tmp_path / "by hand.ckpt")


@pytest.mark.parametrize(
    "damaged", [lambda x: b"", lambda x: cut(x, 0.3), lambda x: cut(x, 0.99), flipped]
)
def test_the_last_is_the_newest_whole_one(tmp_path, caplog, damaged):
    write(tmp_path / "v0" / "old.ckpt", 0)
    good = write(tmp_path / "v1" / "good.ckpt", 1)
    bad = write(tmp_path / "v2" / "bad.ckpt", 2, damaged(good))
    write(tmp_path / "v2" / ".bad.ckpt.paratime-abcdefgh" / "bad.ckpt", 3, b"")
    (tmp_path / "v3").mkdir()
    (tmp_path / "v3" / "last.ckpt").symlink_to("nowhere")
    assert newest_whole([tmp_path, tmp_path / "missing"]) == good
    assert len(caplog.messages) == 1 and f"passed over {bad}: " in caplog.messages[0]
    assert newest_whole([tmp_path / "v3"]) is None
    with pytest.raises(InputError, match=r"got 1 damaged, the newest .*bad\.ckpt"):
        newest_whole([bad.parent])


def test_folders_of_sharded_checkpoints_are_judged_by_what_is_written_last(tmp_path):
    good = write(tmp_path / "good.ckpt", 0)
    folder = tmp_path / "sharded.ckpt"
    folder.mkdir()
    assert newest_whole([tmp_path]) == good
    (folder / "meta.pt").touch()
    assert "no .metadata" in damage_of(folder)
    (folder / ".metadata").touch()
    assert newest_whole([tmp_path]) == folder


CONFIG = """
model:
  class_path: LanguageTask
  init_args: {encoder: {width: 8, depth: 1, mlp_size: 8}}
data:
  class_path: TokenData
  init_args: {source: {class_path: TextFiles, init_args: {paths: [FILE]}}, context_length: 16}
trainer: {limit_val_batches: 0, log_every_n_steps: 1, enable_progress_bar: false, accelerator: cpu}
"""


def test_last_on_the_command_line(tmp_path, paratime, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("to be or not to be. " * 200)
    (tmp_path / "a.yaml").write_text(CONFIG.replace("FILE", "a.txt"))

    def fit(steps, *more):
        caplog.clear()
        status, out, err = paratime("fit", "-c", "a.yaml", "--trainer.max_steps", steps, *more)
        path = Path(out.split("checkpoint ")[1].strip()) if "checkpoint " in out else None
        return status, err, path

    status, _, first = fit(2, "--ckpt_path", "last")
    assert status == 0 and "the run begins anew" in caplog.text
    status, _, second = fit(4, "--ckpt_path", "last")
    assert status == 0 and f"ckpt_path last: {first.resolve()}" in caplog.text
    assert read_checkpoint(second)["global_step"] == 4
    second.write_bytes(cut(second, 0.7))
    status, _, _ = fit(3, "--ckpt_path", "last")
    assert status == 0 and "passed over" in caplog.text and str(first.resolve()) in caplog.text
    for path in tmp_path.rglob("*.ckpt"):
        path.write_bytes(b"")
    status, err, _ = fit(5, "--ckpt_path", "last")
    assert status == 2 and err.startswith("paratime: ckpt_path last: expected a whole checkpoint")
