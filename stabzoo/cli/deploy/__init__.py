"""The commands that put a trained network to use, and the zoo before a browser."""
