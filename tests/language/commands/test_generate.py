"""``paratime language generate``, from a checkpoint to texts."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from paratime.errors import InputError
from paratime.language.commands.generate import read_prompts
from paratime.language.commands.generate import run as generate_text
from paratime.language.generation.sampling import (
    Sampling,
)

CONFIG = """\
model:
  class_path: LanguageTask
  init_args:
    encoder: {width: 16, depth: 1, mixer: ParaGRU, mlp_size: 16}
    optimizer: {lr: 2.0e-2}
data:
  class_path: TokenData
  init_args:
    source:
      class_path: TextFiles
      init_args: {paths: [text.txt]}
    context_length: 32
    batch_size: 8
trainer:
  max_steps: 60
  val_check_interval: 20
  check_val_every_n_epoch: null
  logger: false
"""


@pytest.fixture
def checkpoint(tmp_path, monkeypatch, paratime) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text("to be or not to be. " * 200)
    Path("config.yaml").write_text(CONFIG)
    status, out, err = paratime("fit", "-c", "config.yaml")
    assert status == 0, err
    assert re.search(r"^train +1 +3,601 +3,600 +112$", out, re.MULTILINE), out
    assert "an epoch is 14 batches of 8 windows of 32 tokens" in out
    return re.search(r"checkpoint +(\S+)", out)[1]


def test_texts_from_a_checkpoint(checkpoint, paratime):
    def run(*options):
        return paratime("language", "generate", "--ckpt_path", checkpoint, *options)

    greedy = ("--temperature", 0, "--max_new_tokens", 12)
    status, out, err = run("--prompt", "[to be or", *greedy)
    assert (status, out, err) == (0, "[to be or not to be. \n", "")
    for stop, expected in (
        ("not", "to be or "),
        ('["xyz", "not"]', "to be or "),
        ("not:", "to be or not to be. "),
        ("\n\n", "to be or not to be. "),
        ("7", "to be or not to be. "),
    ):
        status, out, err = run("--prompt", "to be or", *greedy, "--stop", stop)
        assert (status, out) == (0, f"{expected}\n"), err

    status, out, err = run("--prompt", r"to be\n\t\\n", *greedy, "--stop", r"\tx")
    assert status == 0 and out.startswith("to be\n\t\\n"), err

    Path("equal.txt").write_text("to be or\n" * 3)
    status, out, err = run("--prompts", "equal.txt", "--temperature", 2, "--max_new_tokens", 30)
    assert len({*out.split("--- prompt ")[1:]}) == 3, err

    Path("prompts.txt").write_text("to be or\n\nnot to\n")
    status, out, err = run("--prompts", "prompts.txt", *greedy)
    first, second = out.split("--- prompt ")[1:]
    assert first == "'to be or', sample 1 of 1 ---\nto be or not to be. \n\n"
    assert second.startswith("'not to', sample 1 of 1 ---\nnot to be")

    samples = ("--samples", 2, "--seed", 0, "--max_new_tokens", 9, "--temperature", 2)
    lines = {}
    for batch_size in (1, 16):
        more = ("--out", "texts.jsonl", "--batch_size", batch_size)
        status, out, err = run("--prompts", "prompts.txt", *samples, *more)
        assert status == 0 and re.fullmatch(r"texts +texts.jsonl\n", out), err
        lines[batch_size] = [json.loads(x) for x in Path("texts.jsonl").read_text().splitlines()]
    assert lines[1] == lines[16]
    found = [(x["prompt"], x["sample"], x["reason"], x["tokens"]) for x in lines[1]]
    prompts = ("to be or", "not to")
    assert found == [(p, n, "length", 9) for p in prompts for n in (0, 1)]
    assert run("--prompts", "prompts.txt", *samples)[1].count(" of 2 ---\n") == 4

    for options, message in (
        (("--prompt", "a", "--prompts", "prompts.txt"), "expected one prompt, or a file of them"),
        (("--top_p", 2), "top_p: expected above 0 and at most 1, got 2.0"),
        (("--out", "cache"), "out: expected a file, got a folder, 'cache'; name a file in it"),
        (("--samples", 0), "samples: expected at least 1"),
        (("--prompts", "nowhere.txt"), "prompts: expected a file of UTF-8 text"),
        (("--prompt", "a\udcff"), r"prompt: expected valid Unicode, got 'a\udcff'"),
    ):
        status, out, err = run(*options)
        assert status == 2 and not out and message in err and err.count("\n") == 1

    assert paratime("language", "export", "--ckpt_path", checkpoint, "--out", "exported")[0] == 0
    given = ("--ckpt_path", "exported", "--prompt", "to be or", *greedy)
    assert paratime("language", "generate", *given)[1] == "to be or not to be. \n"


def test_prompts_of_a_file(tmp_path):
    lines, objects = tmp_path / "a.txt", tmp_path / "a.jsonl"
    lines.write_bytes(b'\xef\xbb\xbfone\r\n\n "two" \n[3]')  # as on Windows, with a mark
    assert read_prompts(str(lines)) == ["one", ' "two" ', "[3]"]
    objects.write_text('"one\\n"\n{"prompt": "two", "id": 7}\n')
    assert read_prompts(str(objects)) == ["one\n", "two"]


@pytest.mark.parametrize("line", ("plain", "[1]", '{"text": "a"}', '{"prompt": 1}'))
def test_a_line_that_is_no_prompt(line, tmp_path):
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(InputError, match="lines like"):
        read_prompts(str(tmp_path / "a.jsonl"))


def test_no_prompts(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(InputError, match="at least one line with text"):
        read_prompts(str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_prompts(str(tmp_path / "a.txt"))


def test_a_key_that_interrupts_leaves_no_trace(paratime, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("paratime.language.export.safetensors.load_model", interrupt)
    status, out, err = paratime("language", "generate", "--ckpt_path", "a.ckpt")
    assert (status, out, err) == (130, "", "\nparatime: interrupted\n")


def test_a_reader_that_has_read_enough(paratime, monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("paratime.language.export.safetensors.load_model", broken)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # the output is that of pytest
    status, out, err = paratime("language", "generate", "--ckpt_path", "a.ckpt")
    assert (status, out, err) == (141, "", "")


def test_the_command_has_all_options_with_their_defaults():
    options = generate_text.__annotations__.keys()
    positions = dict(zip(reversed(list(options)[:-1]), reversed(generate_text.__defaults__)))  # noqa: B905
    for field in fields(Sampling):
        assert (positions[field.name] or ()) == (field.default or ()), field.name
