"""A source of sequence-numbered messages at a given rate, for tests and benchmarks."""
