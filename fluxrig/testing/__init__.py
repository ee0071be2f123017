"""Public test kit for gears: conformance checks, a workbench for one gear, a clock that tests set."""

from fluxrig.testing.clock import ManualClock, settle
from fluxrig.testing.conformance import GearMaker, check_gear
from fluxrig.testing.workbench import Workbench, context

__all__ = ["GearMaker", "ManualClock", "Workbench", "check_gear", "context", "settle"]
