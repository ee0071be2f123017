"""What both ends agree on: message, codec, config model, gear contract, bus, errors, CLI."""
