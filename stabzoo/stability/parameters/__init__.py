"""Families of methods in one parameter: the exact set of values at which they are stable."""
