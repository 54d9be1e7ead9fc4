"""From records to answers: comparisons, what diagnostics come to, published numbers, and the sentences."""
