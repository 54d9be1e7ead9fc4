"""Methods that solve y = b + w f(y) for a batch, one method a file."""
