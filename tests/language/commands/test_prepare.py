"""paratime language prepare."""

import json
from pathlib import Path

import numpy as np
from language.documents import DOCUMENTS, tokens

from paratime.language.commands.prepare import corpus_table


def test_the_table(tmp_path):
    tokens(tmp_path / "corpus")
    lines = corpus_table(tmp_path / "corpus").splitlines()
    assert lines[0].split() == ["split", "documents", "tokens", "bytes", "bytes/token"]
    total = sum(len(d.text) for d in DOCUMENTS)
    columns = [[int(x.replace(",", "")) for x in line.split()[1:4]] for line in lines[1:4]]
    assert np.sum(columns, 0).tolist() == [20, total + 20, total]
    assert lines[4].startswith("tokenizer  bytes, 257 ids") and lines[5].endswith("corpus")


def test_the_command(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": d.text, "url": d.name}) for d in DOCUMENTS]
    Path("rows.jsonl").write_text("\n".join(rows))
    source = ("--source", "JsonLines", "--source.paths", "[rows.jsonl]", "--source.name", "url")
    tokenizer = ("--tokenizer", "BPE", "--tokenizer.vocab_size", 300)
    options = ("--out", "corpus", "--processes", 1, "--hold_out.val", 0.1)
    status, out, err = paratime("language", "prepare", *source, *tokenizer, *options)
    assert status == 0, err
    assert out.splitlines()[0].startswith("split") and out.splitlines()[-1].endswith("corpus")
    model = ("--model", "LanguageTask", "--model.encoder.width", 8, "--model.encoder.depth", 1)
    data = (
        "--data",
        "TokenData",
        "--data.source",
        "PreparedCorpus",
        "--data.source.path",
        "corpus",
    )
    trial = (
        "--data.context_length",
        6,
        "--trainer.fast_dev_run",
        1,
        "--trainer.accelerator",
        "cpu",
    )
    status, out, err = paratime("fit", *model, *data, *trial)
    assert status == 0, err
    status, out, err = paratime(
        "language", "prepare", "--source", "TextFiles", "--source.paths", "[x]", "--out", "y"
    )
    assert status == 2 and "existing file, folder or pattern" in err and err.count("\n") == 1
