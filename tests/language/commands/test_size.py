"""paratime language size."""

import pytest
from language.sizes import CONFIGS, of_config, small

from paratime import ParaLSTM
from paratime.language.commands.size import footprint_table
from paratime.language.model.footprint import on_meta, parameters_by_part


def test_the_command_prints_what_the_config_and_the_options_say(paratime):
    options = ("--model.encoder.mixer", "ParaLSTM", "--model.vocab_size", "50432")
    status, out, err = paratime("language", "size", "-c", CONFIGS / "400m.yaml", *options)
    assert status == 0, err
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    full = sum(parameters_by_part(on_meta(of_config("400m", ParaLSTM)[0])).values())
    assert rows["total"] == [f"{full:,}"]
    assert float(rows["weights"][0]) == pytest.approx(4 * full / 2**30, abs=1e-3)
    assert float(rows["8"][0]) == pytest.approx(2 * full / 2**30, rel=1e-2)
    assert "2048 tokens" in out


def test_the_vocabulary_is_that_of_the_data(paratime):
    status, out, err = paratime("language", "size", "-c", CONFIGS / "quickstart.yaml")
    assert status == 0, err
    assert "at 1,024 token ids" in out and f"{1024 * 192:,}" in out


def test_without_data_the_vocabulary_is_asked_for(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = paratime("language", "size", "-c", CONFIGS / "7b.yaml")
    assert status == 2 and "without data, give --model.vocab_size" in err


def test_a_config_of_another_slice(paratime):
    path = CONFIGS.parent / "world" / "tmaze_memory.yaml"
    status, _, err = paratime("language", "size", "-c", path)
    assert status == 2 and err.startswith("paratime: ") and len(err.splitlines()) == 1


def test_lines_are_aligned():
    lines = [line for line in footprint_table(small(), 32).splitlines() if line.startswith("  ")]
    assert {len(line) for line in lines if len(line) < 60} == {40}
