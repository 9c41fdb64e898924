"""The language model: task, loss, metrics, FSDP, muP, memory footprint and pretrained weights."""
