"""`fluxrig bench`: measure on this machine, one command a module."""

import typer

from fluxrig.cli.bench.audit import audit
from fluxrig.cli.bench.codec import codec
from fluxrig.cli.bench.neighbour import neighbour
from fluxrig.cli.bench.poll import poll
from fluxrig.cli.bench.snake import snake
from fluxrig.cli.bench.sniff import sniff

app = typer.Typer(name="bench", help="Measure fluxrig on this machine.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    pass


app.command()(audit)
app.command()(codec)
app.command()(neighbour)
app.command()(poll)
app.command()(snake)
app.command()(sniff)
