"""Norms and singular values of layers, exact or enclosed: as operators, for periodic and for zero padding."""
