"""The figures of a study: accuracies, noise, parasitic radii, curves and angles, in one style."""
