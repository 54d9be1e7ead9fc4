"""``stabzoo study``: a file a command."""
