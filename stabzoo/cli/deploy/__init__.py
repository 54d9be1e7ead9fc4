"""The commands that put a trained network to use."""
