"""``stabzoo study``: a file per command."""
