"""Public test kit for gears: conformance checks, a workbench for one gear, a clock that tests set."""

from fluxrig.testing.workbench import Workbench, context
from fluxrig.testing.clock import ManualClock, settle
from fluxrig.testing.conformance import GearMaker, check_gear

__all__ = ["Workbench", "GearMaker", "ManualClock", "check_gear", "context", "settle"]
