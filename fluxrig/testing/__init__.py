"""Public test kit for gears: conformance checks, an in-memory engine, a clock that tests set."""
