"""General linear methods: several stages and several quantities that a step takes over from the one before."""

from stabzoo.methods.general_linear.method import GeneralLinear

__all__ = ["GeneralLinear"]
