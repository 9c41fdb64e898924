"""Documents that are tokens already."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from language.documents import TEXTS, texts

from paratime.errors import InputError
from paratime.language import (
    LitData,
    Source,
    TokenFiles,
)


def ids_of(source: Source) -> list[list[int]]:
    return [document.tokens.tolist() for document in source.documents()]


class TestTokenFiles:
    @pytest.mark.parametrize("dtype", ("uint16", "uint32"))
    def test_documents_lie_between_starts(self, dtype, tmp_path, monkeypatch):
        monkeypatch.setattr("paratime.language.data.sources.tokens.BLOCK_IDS", 3)
        np.array([9, 1, 2, 9, 9, 3, 4, 5, 9, 6], dtype).tofile(tmp_path / "a.bin")
        np.array([7, 8, 9], dtype).tofile(tmp_path / "b.bin")
        (tmp_path / "c.bin").touch()
        paths = [str(tmp_path / "*.bin")]
        found = ids_of(TokenFiles(paths, 9, dtype))
        assert found == [[1, 2], [3, 4, 5], [6], [7, 8]]
        assert list(map(len, ids_of(TokenFiles(paths, None, dtype)))) == [10, 3]


class TestLitData:
    """Folders as litdata 0.2.76 writes them: an index, and chunks that begin with offsets."""

    def write(self, folder: Path, items: list[bytes], **config) -> str:
        folder.mkdir(exist_ok=True)
        raw = config.pop("dim", None) is not None
        chunks = []
        for number, part in enumerate((items[:2], items[2:])):
            bodies = [x if raw else struct.pack("<I", len(x)) + x for x in part]
            ends = np.cumsum([8 + 4 * len(part), *map(len, bodies)]).astype("<u4")
            content = struct.pack("<I", len(part)) + ends.tobytes() + b"".join(bodies)
            (folder / f"chunk-0-{number}.bin").write_bytes(content)
            dim = sum(map(len, part)) if raw else None
            entry = {"chunk_size": len(part), "dim": dim, "filename": f"chunk-0-{number}.bin"}
            chunks.append(entry)
        about = {"chunks": chunks, "config": {"compression": None, "encryption": None} | config}
        (folder / "index.json").write_text(json.dumps(about))
        return str(folder)

    def test_strings(self, tmp_path):
        items = [text.encode() for text in TEXTS]
        assert texts(LitData(self.write(tmp_path, items, data_format=["str"]))) == TEXTS

    @pytest.mark.parametrize("dim", (None, 1))
    @pytest.mark.parametrize(
        ("kind", "dtype"), (("no_header_tensor:16", "<i4"), ("no_header_numpy:5", "<u2"))
    )
    def test_ids(self, kind, dtype, dim, tmp_path):
        items = [[1, 2, 9], [3, 9], [4, 5, 6], []]
        packed = [np.array(x, dtype).tobytes() for x in items]
        path = self.write(tmp_path, packed, data_format=[kind], dim=dim)
        assert ids_of(LitData(path, start=9)) == [[1, 2], [3], [4, 5, 6]]
        assert ids_of(LitData(path)) == items[:3]

    def test_what_cannot_be_read(self, tmp_path):
        for config, got in (
            ({"data_format": ["str"], "compression": "zstd"}, "compression zstd"),
            ({"data_format": ["int", "str"]}, "int, str"),
            ({"data_format": ["jpeg"]}, "jpeg"),
        ):
            path = self.write(tmp_path, [b"a", b"b", b"c"], **config)
            with pytest.raises(InputError, match=f"strings or plain ids, got {got}; write it so"):
                texts(LitData(path))
        path = self.write(tmp_path, [b"a", b"b", b"c"], data_format=["str"])
        (tmp_path / "chunk-0-1.bin").write_bytes(b"\3\0\0\0cut")
        with pytest.raises(InputError, match=r"chunk-0-1\.bin: expected a whole chunk"):
            texts(LitData(path))
        (tmp_path / "index.json").unlink()
        with pytest.raises(InputError, match=r"index\.json: expected litdata's index"):
            texts(LitData(path))

    def test_what_the_package_itself_writes(self, tmp_path):
        writer = pytest.importorskip("litdata.streaming.writer")
        torch = pytest.importorskip("torch")
        made = writer.BinaryWriter(str(tmp_path), chunk_bytes=100)
        for i in range(5):
            made[i] = torch.arange(i + 1, dtype=torch.int32)
        made.done()
        made.merge()
        assert ids_of(LitData(str(tmp_path))) == [list(range(i + 1)) for i in range(5)]
