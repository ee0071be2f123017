"""The audit store: every message of the hub's streams as Parquet rows, each exactly once."""
