"""The checks that a GPU decides, as one command; see `benchmarks.gpu.__main__`."""
