"""A trial of Arrow files, in a process that a damaged one may end in place of ours."""


def validate_file(path: str) -> None:
    """Read and validate all batches of a file, or of a stream.

    Raises:
        pyarrow.ArrowInvalid: One is damaged.
    """
    import pyarrow  # of the trial's own process

    with pyarrow.memory_map(path) as source:
        whole = source.read(6) == b"ARROW1"
        source.seek(0)
        if whole:
            file = pyarrow.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            batches = iter(pyarrow.ipc.open_stream(source))
        for batch in batches:
            batch.validate(full=True)
            batch.serialize()  # which reads every byte
