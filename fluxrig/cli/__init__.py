"""The two commands, `fluxrig` and `mixer`. One module is one command or group of commands."""
