"""paratime language evaluate."""

import re

import pandas as pd
import pytest
from language.models import train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"))


class TestCommand:
    def test_scores_in_a_table_and_files(self, checkpoint, tmp_path, paratime):
        for name, text in {"a": "to be or not", "b": "what " * 30}.items():
            (tmp_path / f"{name}.txt").write_text(text)
        out = tmp_path / "scores"
        given = "--ckpt_path", checkpoint, "--data", tmp_path / "*.txt", "--out", out
        status, text, error = paratime("language", "evaluate", *given)
        assert status == 0 and "evaluating" in error
        lines = text.splitlines()
        assert len({len(line) for line in lines[:4]}) == 1 and lines[-1].split() == [
            "scores",
            str(out),
        ]
        scores = pd.read_csv(out / "documents.csv")
        assert list(scores.tokens) == [12, 150, 162]
        assert f"{scores.loss.iloc[-1]:.4f}" in lines[3] and lines[3].startswith("total")
        assert pd.read_csv(out / "positions.csv").tokens.sum() == 162
        assert (out / "positions.png").read_bytes()[:4] == b"\x89PNG"
        windows = "--context", "Sliding", "--context.length", 8, "--context.stride", 4
        sliding = paratime("language", "evaluate", *given[:4], *windows)[1].splitlines()
        assert len(sliding) == 4 and sliding[-1] != lines[3]

    def test_a_source_is_scored_on_what_is_held_out(self, checkpoint, tmp_path, paratime):
        for i in range(4):
            (tmp_path / f"{i}.txt").write_text("to be " * (i + 1))
        source = f"--source=TextFiles --source.paths=[{tmp_path}/*.txt]".split()
        counts = {}
        for split in ("train", "val", "test", "all"):
            given = "--ckpt_path", checkpoint, *source, "--split", split
            _, text, _ = paratime("language", "evaluate", *given)
            counts[split] = int(re.search(r"^total +(\d+)", text, re.MULTILINE)[1])
        assert counts["all"] == sum(counts[s] for s in ("train", "val", "test")) == 60
        assert min(counts.values()) > 0

    def test_documents_that_are_not_those_of_training_are_said(self, tmp_path, paratime, caplog):
        checkpoint = train(tmp_path)
        source = f"--source=TextFiles --source.paths=[{tmp_path}/text.txt]".split()
        given = "language", "evaluate", "--ckpt_path", checkpoint, *source
        assert paratime(*given)[0] == 0 and "documents of the" not in caplog.text
        (tmp_path / "text.txt").write_text("to be or not to be. " * 200 + "more")
        changed = r"not the documents of the checkpoint: train 1 documents, \w+ then, 1 documents, "
        assert paratime(*given)[0] == 0 and re.search(changed, caplog.text)

    def test_tokens_of_another_tokenizer_are_refused(self, checkpoint, tmp_path, paratime):
        (tmp_path / "a.txt").write_text("to be or not to be. " * 20)
        source = f"--source=TextFiles --source.paths=[{tmp_path}/a.txt]".split()
        for name in ("ByteTokenizer", "Characters"):
            given = *source, "--tokenizer", name, "--out", tmp_path / name
            status, _, error = paratime("language", "prepare", *given)
            assert status == 0, error
            prepared = "--source", "PreparedCorpus", "--source.path", tmp_path / name
            status, text, error = paratime(
                "language", "evaluate", "--ckpt_path", checkpoint, *prepared
            )
            if name == "ByteTokenizer":
                assert status == 0 and "total" in text
            else:
                assert status == 2 and "expected tokens of bytes, sha256" in error

    @pytest.mark.parametrize(
        ("given", "message"),
        (
            (["--ckpt_path", "none.ckpt", "--data", __file__], "ckpt_path: expected an existing"),
            (["--data", __file__, "--device", "cud"], "device: expected one that torch finds"),
            ([], "data: expected --data FILES or --source SOURCE, got neither"),
            (["--data", __file__, "--out", "."], "out .: expected a new or an empty folder"),
            (["--data", __file__, "--context", "Slidin"], "nearest: Sliding"),
        ),
        ids=("checkpoint", "device", "nothing", "out", "context"),
    )
    def test_mistakes_end_in_one_line(self, given, message, checkpoint, paratime):
        default = [] if "--ckpt_path" in given else ["--ckpt_path", checkpoint]
        status, _, error = paratime("language", "evaluate", *default, *given)
        last = error.strip().splitlines()[-1]
        assert status == 2 and last.startswith("paratime: ") and message in last
