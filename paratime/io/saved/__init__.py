"""What was saved, read as data: whole, by checksums, and of classes that data may name."""
