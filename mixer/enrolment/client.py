"""How a command has the running Mixer do something about Racks and join tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fluxrig.errors import BusUnavailable, FluxrigError
from mixer.enrolment.operator import SUBJECT
from mixer.folder import Folder

CONNECT_S: Final = 3.0
ANSWER_S: Final = 10.0


async def ask(folder: Folder, order: Mapping[str, Any]) -> Any:
    """Have an order done, and give what came of it. FluxrigError says why it is not done."""
    try:
        async with await folder.reach("mixer racks", CONNECT_S) as bus:
            answer = json.loads(await bus.request(SUBJECT, json.dumps(order).encode(), ANSWER_S))
    except BusUnavailable:
        raise FluxrigError(
            f"no Mixer runs on {folder.path}; start it with `mixer up`, or give its folder with --data"
        ) from None
    if error := answer.get("error"):
        raise FluxrigError(error)
    return answer["done"]
