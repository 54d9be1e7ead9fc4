"""Accuracy under clean, noisy, corrupted and attacked images: what is asked (``spec``), and measuring it."""
