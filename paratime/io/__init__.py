"""Files: found, written whole or not at all, cached, drawn, and laid out as pages."""
