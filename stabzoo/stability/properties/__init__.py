"""What else is proved of a method: sectors and half planes of stability, energies, waves, symmetry."""
