"""`fluxrig modbus`: ask a device by hand, one command a module."""

import typer

from fluxrig.cli.modbus.plan import plan
from fluxrig.cli.modbus.read import read
from fluxrig.cli.modbus.scan import scan
from fluxrig.cli.modbus.write import write

app = typer.Typer(
    name="modbus", help="Ask a Modbus device by hand, and see what a Rack would ask.", no_args_is_help=True
)


@app.callback()
def _modbus() -> None:
    pass


app.command()(read)
# A negative number is a value, not an option.
app.command(context_settings={"ignore_unknown_options": True})(write)
app.command()(scan)
app.command()(plan)
