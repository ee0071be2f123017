"""The Rack: decides when, in what order, and what happens after a failure."""
