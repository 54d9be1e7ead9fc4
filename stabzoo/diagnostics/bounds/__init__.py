"""Certified bounds: of one step, of parts of a network, of its history, and of whole networks."""
