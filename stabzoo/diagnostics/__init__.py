"""Measured stability: operator norms, forward bounds, condition numbers, principal angles, perturbation growth."""
