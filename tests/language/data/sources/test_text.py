"""Documents from files of every kind."""

import gzip
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from language.documents import TEXTS, texts
from pyarrow import parquet

from paratime.errors import InputError
from paratime.language import (
    ByteTokenizer,
    HoldOut,
    HuggingFace,
    InMemory,
    JsonLines,
    Parquet,
    PreparedCorpus,
    Shakespeare,
    TextFiles,
)
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.sources import text as text_sources


def pack(path: Path, content: bytes) -> str:
    """Write a file, compressed as its name says."""
    if path.suffix == ".gz":
        content = gzip.compress(content)
    if path.suffix == ".zst":
        with pyarrow.CompressedOutputStream(str(path), "zstd") as out:
            out.write(content)
        return str(path)
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("suffix", ("", ".gz", ".zst"))
class TestCompression:
    def test_text(self, suffix, tmp_path):
        for i, text in enumerate(TEXTS):
            pack(tmp_path / f"{i}.txt{suffix}", text.encode())
        source = TextFiles([str(tmp_path / "*.txt*")])
        assert texts(source) == TEXTS
        size = sum(len(text.encode()) for text in TEXTS)
        assert source.size() == (None if suffix else size)

    @pytest.mark.parametrize("block", (1, 2, 7, 2**24))
    def test_a_separator(self, block, suffix, tmp_path, monkeypatch):
        monkeypatch.setattr(text_sources, "BLOCK_BYTES", block)
        path = pack(tmp_path / f"a.txt{suffix}", "<|é|>".join(TEXTS).encode())
        assert texts(TextFiles([path], separator="<|é|>")) == TEXTS

    def test_json_lines(self, suffix, tmp_path):
        rows = [json.dumps({"body": text, "id": i}) for i, text in enumerate(TEXTS)]
        path = pack(tmp_path / f"a.jsonl{suffix}", ("\n\n".join(rows) + "\n").encode())
        found = list(JsonLines([path], "body", "id").documents())
        assert [d.text for d in found] == TEXTS and [d.name for d in found] == list("0123")
        assert next(JsonLines([path], "body").documents()).name == f"a.jsonl{suffix}:1"


class TestFiles:
    def test_files_and_patterns(self, tmp_path):
        for name, text in {"b.txt": "two", "a.txt": "one", "c.md": "three"}.items():
            (tmp_path / name).write_text(text)
        found = TextFiles([str(tmp_path / "*.txt"), str(tmp_path / "a.txt")])
        assert texts(found) == ["one", "two"]

    def test_names_do_not_depend_on_where_one_looks_from(self, tmp_path, monkeypatch):
        (tmp_path / "a").mkdir()
        for name in ("a/b.txt", "a/c.txt", "d.txt"):
            (tmp_path / name).write_text(name)
        monkeypatch.chdir(tmp_path)
        for pattern in ("**/*.txt", str(tmp_path / "**" / "*.txt"), "a/../**/*.txt"):
            names = [d.name for d in TextFiles([pattern]).documents()]
            assert names == ["a/b.txt", "a/c.txt", "d.txt"]
        assert [d.name for d in TextFiles(["a/*"]).documents()] == ["b.txt", "c.txt"]

    def test_a_missing_file_and_a_file_that_is_not_text(self, tmp_path):
        with pytest.raises(InputError, match=r"paths: expected an existing file.*, got '.*x'"):
            texts(TextFiles([str(tmp_path / "x")]))
        with pytest.raises(InputError, match="paths: expected at least one file or pattern"):
            texts(TextFiles([]))
        (tmp_path / "latin").write_bytes(b"na\xefve")
        with pytest.raises(InputError, match="expected UTF-8 text, got byte 0xef at position 2"):
            texts(TextFiles([str(tmp_path / "latin")]))

    @pytest.mark.parametrize(
        ("line", "message"),
        (
            ("{", ":2: expected JSON in UTF-8"),
            ("[1]", ":2: expected an object, got list"),
            ('{"texts": "a"}', ":2: expected a field 'text', got fields texts"),
            ('{"text": 5}', ":2: text: expected a text, got int"),
            ('{"text": "\\ud800"}', ":2: expected JSON in UTF-8"),
        ),
    )
    def test_lines_that_cannot_be_used(self, line, message, tmp_path):
        (tmp_path / "a.jsonl").write_text('{"text": null}\n' + line)
        with pytest.raises(InputError, match=rf"a\.jsonl{message}"):
            texts(JsonLines([str(tmp_path / "a.jsonl")]))

    def test_a_name_with_brackets_is_a_file_first(self, tmp_path):
        for name in ("a[1].txt", "a1.txt", "a2.txt"):
            (tmp_path / name).write_text(name)
        assert texts(TextFiles([str(tmp_path / "a[1].txt")])) == ["a[1].txt"]
        assert texts(TextFiles([str(tmp_path / "a[2].txt")])) == ["a2.txt"]

    @pytest.mark.parametrize("suffix", ("", ".gz", ".zst"))
    def test_a_byte_order_mark_is_no_text(self, suffix, tmp_path):
        mark, rows = "\ufeff", '{"text": "one"}\n{"text": "\ufeff"}'
        text = pack(tmp_path / f"a.txt{suffix}", f"{mark}one{mark}".encode())
        lines = pack(tmp_path / f"a.jsonl{suffix}", f"{mark}{rows}".encode())
        assert texts(TextFiles([text])) == [f"one{mark}"]
        assert texts(TextFiles([text], separator=mark)) == ["one", ""]
        assert texts(JsonLines([lines])) == ["one", mark]
        for content in (b"", b"\xef", mark.encode()):
            short = pack(tmp_path / f"short.bin{suffix}", content)
            if content != b"\xef":
                assert texts(TextFiles([short])) == [""]

    def test_identity_follows_files_and_options(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("one")
        first = TextFiles([str(path)]).identity()
        assert TextFiles([str(path)]).identity() == first
        assert TextFiles([str(path)], separator="x").identity() != first
        path.write_text("three")
        assert TextFiles([str(path)]).identity() != first
        documents = list(Shakespeare().documents())
        assert InMemory(documents).identity() != InMemory(documents[1:]).identity()

    def test_identity_follows_the_place_and_every_change(self, tmp_path, monkeypatch):
        found = set()
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            monkeypatch.chdir(tmp_path / folder)
            for text in ("one", "two"):  # as long as each other, and with the same time
                Path("a.txt").write_text(text)
                os.utime("a.txt", (10**9, 10**9))
                found.add(TextFiles(["a.txt"]).identity())
        assert len(found) == 4

    def test_identity_follows_the_code_of_a_users_source(self, tmp_path, monkeypatch):
        code = (
            "from dataclasses import dataclass\n"
            "from paratime.language import Document, Source\n\n\n"
            "@dataclass(frozen=True)\nclass Own(Source):\n"
            "    def documents(self):\n        yield Document('a', 'one')\n"
        )
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(tmp_path)
        found = []
        for text in ("one", "two", "one"):
            (tmp_path / "own_source.py").write_text(code.replace("one", text))
            monkeypatch.delitem(sys.modules, "own_source", raising=False)
            importlib.invalidate_caches()
            own = importlib.import_module("own_source").Own()
            found.append((own.identity(), CorpusBuilder(own, ByteTokenizer(), HoldOut()).identity))
        assert found[0] == found[2]
        assert found[0][0] != found[1][0] and found[0][1] != found[1][1]


class TestNames:
    """A document that has no name of its own is drawn by itself."""

    @pytest.mark.parametrize("kind", ("jsonl", "parquet"))
    def test_documents_without_a_name_do_not_share_a_split(self, kind, tmp_path):
        names = [("book" if i % 50 == 0 else (None, "")[i % 2]) for i in range(300)]
        rows = [{"text": f"text {i}", "name": name} for i, name in enumerate(names)]
        path = tmp_path / f"a.{kind}"
        if kind == "jsonl":
            rows = [{k: x for k, x in row.items() if x is not None} for row in rows]
            path.write_text("\n".join(map(json.dumps, rows)))
        else:
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        source = (JsonLines if kind == "jsonl" else Parquet)([str(path)], name="name")
        split = HoldOut(val=0.2, test=0.2).assign(list(source.documents()))
        assert all(20 < len(part) < 280 for part in split.values())
        assert sum(any(d.group == "book" for d in part) for part in split.values()) == 1

    def test_numbers_that_are_none(self, tmp_path):
        column = pyarrow.array([1.0, float("nan"), None, 2.0])
        parquet.write_table(pyarrow.table({"text": TEXTS, "name": column}), tmp_path / "a.parquet")
        found = list(Parquet([str(tmp_path / "a.parquet")], name="name").documents())
        assert [d.group for d in found] == ["1.0", None, None, "2.0"]

    def test_a_name_that_no_row_has(self, tmp_path):
        (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b", "id": 1}')
        with pytest.raises(
            InputError, match=r"name: .* got 'title', which no row has; name one of"
        ):
            texts(JsonLines([str(tmp_path / "a.jsonl")], name="title"))

    @pytest.mark.parametrize("kind", ("jsonl", "parquet"))
    def test_fields_of_fields(self, kind, tmp_path):
        rows = [{"a": {"b": text, "id": str(i)}, "c": [text]} for i, text in enumerate(TEXTS)]
        path = tmp_path / f"a.{kind}"
        if kind == "jsonl":
            path.write_text("\n".join(map(json.dumps, [*rows, {"a": None, "c": ["x"]}])))
        else:
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        make = JsonLines if kind == "jsonl" else Parquet
        found = [d for d in make([str(path)], "a.b", "a.id").documents() if d.text]
        assert [d.text for d in found] == TEXTS and [d.name for d in found] == list("0123")
        assert texts(make([str(path)], "c.0"))[:4] == TEXTS
        for field in ("a.x", "c.9", "x.y"):
            with pytest.raises(InputError, match=f"'{field}'"):
                texts(make([str(path)], field))


class TestPaths:
    def test_folders_home_and_variables(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("TEXTS", str(tmp_path / "texts"))
        (tmp_path / "texts" / "below").mkdir(parents=True)
        for name in ("a.txt", "below/b.txt", ".hidden", "c.jsonl", "d.parquet"):
            (tmp_path / "texts" / name).write_text('{"text": "x"}')
        for path in (str(tmp_path / "texts"), "~/texts", "$TEXTS", "${TEXTS}/"):
            files = [str(f.relative_to(tmp_path / "texts")) for f in TextFiles([path]).files()]
            assert files == ["a.txt", "below/b.txt", "c.jsonl", "d.parquet"]
            assert texts(JsonLines([path])) == ["x"]
            assert [f.name for f in Parquet([path]).files()] == ["d.parquet"]
        assert texts(TextFiles(["~/texts/a.txt", "$TEXTS/b*/*.txt"])) == ['{"text": "x"}'] * 2
        with pytest.raises(InputError, match=r"expected an existing file, folder of \.parquet or"):
            Parquet(["~/texts/below"]).files()

    @pytest.mark.parametrize("suffix", (".gz", ".zst"))
    def test_a_compressed_file_of_no_bytes_is_not_whole(self, suffix, tmp_path):
        (tmp_path / f"a.jsonl{suffix}").write_bytes(b"")
        for make in (TextFiles, JsonLines):
            with pytest.raises(InputError, match=f"a whole {suffix} file, got an empty file"):
                texts(make([str(tmp_path / f"a.jsonl{suffix}")]))


class TestSeparators:
    @pytest.mark.parametrize(
        ("written", "meant"),
        ((r"\n\n", "\n\n"), (r"\t", "\t"), (r"\r\n", "\r\n"), (r"\\n", r"\n"), (r"\d", r"\d")),
    )
    def test_escapes_are_the_characters_that_they_mean(self, written, meant, tmp_path):
        (tmp_path / "a.txt").write_bytes(meant.join(["one", "two", "three"]).encode())
        for separator in {written, meant} - {r"\n"}:
            source = TextFiles([str(tmp_path)], separator=separator)
            assert texts(source) == ["one", "two", "three"]

    def test_one_that_never_occurs_is_refused(self, tmp_path):
        for i in range(3):
            (tmp_path / f"{i}.txt").write_text("one two")
        with pytest.raises(InputError, match=r"separator: .* got '<end>', which is in no file"):
            texts(TextFiles([str(tmp_path)], separator="<end>"))
        (tmp_path / "3.txt").write_text("one<end>two")
        assert len(texts(TextFiles([str(tmp_path)], separator="<end>"))) == 5


class TestParquet:
    def write(self, folder: Path, **columns) -> str:
        parquet.write_table(pyarrow.table(columns), folder / "a.parquet", row_group_size=2)
        return str(folder / "a.parquet")

    def test_rows(self, tmp_path):
        path = self.write(tmp_path, text=[*TEXTS, None], id=[5, 6, 7, 8, 9])
        assert texts(Parquet([path])) == [*TEXTS, ""]
        assert [d.name for d in Parquet([path], name="id").documents()] == list("56789")

    def test_what_cannot_be_used(self, tmp_path):
        path = self.write(tmp_path, body=TEXTS, number=[1, 2, 3, 4])
        with pytest.raises(InputError, match="expected a column 'text', got columns body, number"):
            texts(Parquet([path]))
        with pytest.raises(InputError, match="number: expected a text, got int"):
            texts(Parquet([path], "number"))
        latin = pyarrow.array([b"na\xefve"]).view(pyarrow.string())
        with pytest.raises(InputError, match=r"a\.parquet: expected .* UTF-8, got 'utf-8' codec"):
            texts(Parquet([self.write(tmp_path, text=latin)]))
        Path(path).write_bytes(b"PAR1 no")
        with pytest.raises(InputError, match=r"a\.parquet: expected a Parquet file"):
            texts(Parquet([path]))


class TestHuggingFace:
    @pytest.mark.filterwarnings("ignore")
    def test_folders(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
        datasets = pytest.importorskip("datasets")
        made = datasets.Dataset.from_dict({"body": TEXTS, "id": [1, 2, 3, 4]})
        made.save_to_disk(tmp_path / "one")
        datasets.DatasetDict({"val": made}).save_to_disk(tmp_path / "two")
        (tmp_path / "three").mkdir()
        made.to_parquet(tmp_path / "three" / "train.parquet")
        for source in (
            HuggingFace(str(tmp_path / "one"), text="body"),
            HuggingFace(str(tmp_path / "two"), "val", "body", "id"),
            HuggingFace(str(tmp_path / "three"), text="body"),
            HuggingFace(str(tmp_path / "three"), text="body", streaming=True),
        ):
            assert texts(source) == TEXTS
            assert len({d.name for d in source.documents()}) == 4
        with pytest.raises(InputError, match="expected a column 'text', got columns body, id"):
            texts(HuggingFace(str(tmp_path / "one")))
        with pytest.raises(InputError, match="two: expected a dataset, got KeyError"):
            texts(HuggingFace(str(tmp_path / "two"), "dev"))
        assert HuggingFace(str(tmp_path / "one")).files()
        latin = pyarrow.array([b"a", b"na\xefve"]).view(pyarrow.string())
        parquet.write_table(pyarrow.table({"text": latin}), tmp_path / "three" / "train.parquet")
        with pytest.raises(InputError, match="three: expected a dataset, got Unicode"):
            texts(HuggingFace(str(tmp_path / "three"), streaming=True))


def test_a_folder_that_was_not_prepared(tmp_path):
    with pytest.raises(InputError, match="expected the folder of a corpus, got no manifest"):
        list(PreparedCorpus(str(tmp_path)).documents())


@pytest.mark.parametrize("suffix", (".gz", ".zst"))
def test_a_cut_file(suffix, tmp_path):
    random = np.random.default_rng(0).integers(32, 127, 10**6, dtype=np.uint8)
    path = Path(pack(tmp_path / f"a.txt{suffix}", random.tobytes()))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=rf"a\.txt.*expected a whole \{suffix} file, got"):
        texts(TextFiles([str(path)]))
    path.write_bytes(b"no such compression")
    with pytest.raises(InputError, match=rf"expected a whole \{suffix} file, got"):
        texts(JsonLines([str(path)]))


def test_a_path_without_brackets(paratime):
    for path in ("texts", "/a/*.txt"):
        given = "--source", "TextFiles", "--source.paths", path, "--out", "x"
        status, _, error = paratime("language", "prepare", *given)
        assert (
            status == 2 and f"expected an existing file, folder or pattern, got {path!r}" in error
        )


def test_files_are_read_one_by_one(tmp_path):
    """A source is a stream: nothing asks for the next document before the last is done."""
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(f"text {i} " * 10)
    source = TextFiles([str(tmp_path / "*.txt")])
    stream = source.documents()
    first = next(stream)
    (tmp_path / "1.txt").write_text("changed")
    assert first.text.startswith("text 0") and next(stream).text == "changed"
