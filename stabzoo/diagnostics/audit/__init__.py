"""An audit of one network: the scheme that it has learnt, exactly, and each block read as a step of Euler's method."""
