"""The commands that design schemes, and say which there are."""
