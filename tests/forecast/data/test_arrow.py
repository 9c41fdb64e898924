"""A trial of an Arrow file reads all of it, and finds offsets that lead out of it."""

import pyarrow
import pytest

from paratime.errors import InputError
from paratime.forecast.data.sources import arrow
from paratime.forecast.data.sources.json_lines import read_entries

TABLE = pyarrow.table({"item_id": ["a", "bb"], "target": [[1.0, 2.0], [3.0]]})


def write(path, stream):
    make = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with make(path, TABLE.schema) as writer:
        writer.write_table(TABLE)


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_file_passes_and_a_damaged_one_does_not(tmp_path, stream):
    path = tmp_path / "a.arrow"
    write(path, stream)
    arrow.validate_file(str(path))
    offsets = pyarrow.array([0, 2, 3], pyarrow.int32()).buffers()[1].to_pybytes()
    whole = path.read_bytes()
    assert whole.count(offsets) == 1
    wrong = pyarrow.array([0, 2**30, 3], pyarrow.int32()).buffers()[1].to_pybytes()
    path.write_bytes(whole.replace(offsets, wrong))
    with pytest.raises(pyarrow.ArrowInvalid):
        arrow.validate_file(str(path))
    with pytest.raises(InputError, match=r"a\.arrow: expected a whole file"):
        [*read_entries(path)]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.arrow: expected a whole file"):
        [*read_entries(path)]
