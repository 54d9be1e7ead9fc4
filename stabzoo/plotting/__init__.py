"""Figures of schemes and oscillators, the colours and files of all figures, and the frame of all pages."""
