"""Data sets that are computed from a seed: there are no files, and every label is exact."""
