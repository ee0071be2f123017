"""`fluxrig bench`: measure on this machine, one command a module."""

import typer

from fluxrig.cli.bench.codec import codec

app = typer.Typer(name="bench", help="Measure fluxrig on this machine.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    pass


app.command()(codec)
