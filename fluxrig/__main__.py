"""`python -m fluxrig`."""

from fluxrig.cli.main import main

main()
