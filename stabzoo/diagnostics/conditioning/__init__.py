"""Condition numbers: of matrices and operators, of layers and products of them, of the blocks of a network."""
