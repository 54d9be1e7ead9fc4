"""What is proved of single modules of torch, timm and torchvision: one rule for each exact type.

A rule takes the module and the shape of its input, and returns a `StepBound` with the shape of its result.
"""
