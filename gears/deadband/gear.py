"""The gear: holds each tag of each message against what was last reported."""

from __future__ import annotations

from typing import Final

from fluxrig.gear import Batch, Context, Gear, Outputs
from fluxrig.message import TAGS, FluxMsg, new_id
from gears.deadband.config import Config
from gears.deadband.memory import Draft, Memory, Report
from gears.deadband.threshold import UNCHANGED, moved

TAG_PREFIXES: Final = ("quality.", "unit.")
"""What in `meta` belongs to one tag."""


class Deadband(Gear[Config]):
    """Passes messages of other schemas untouched."""

    max_batch = 1000

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__(config, context)
        self.memory = Memory(config.max_keys)
        self._max_silence_ns = None if config.max_silence is None else round(config.max_silence * 1e9)

    async def process(self, batch: Batch, port: str) -> Outputs:
        draft = self.memory.draft()
        outputs = Outputs.each(batch, lambda message: self._filter(message, draft))
        self.memory.commit(draft)
        return outputs

    def _filter(self, message: FluxMsg, draft: Draft) -> FluxMsg | None:
        """Give what of the message is worth reporting: all of it, some tags of it, or None."""
        data = message.data
        if message.schema != TAGS or not data:
            return message
        kept = {tag: value for tag, value in data.items() if self._passes(message, tag, draft)}
        if len(kept) == len(data):
            return message
        return self._derive(message, kept) if kept else None

    def _passes(self, message: FluxMsg, tag: str, draft: Draft) -> bool:
        """Decide on one tag, and remember it as reported if it passes."""
        key = (message.uns, tag)
        report = Report(message.data[tag], message.meta.get(f"quality.{tag}"), message.ts)
        last = draft.get(key)
        if last is not None and not self._worth_reporting(last, report, tag):
            return False
        draft.put(key, report)
        return True

    def _worth_reporting(self, last: Report, now: Report, tag: str) -> bool:
        silence_ns = now.ts - last.ts
        # Time that runs backwards says that the source's clock was set: silence can't be known, so report.
        return (
            now.quality != last.quality
            or silence_ns < 0
            or (self._max_silence_ns is not None and silence_ns >= self._max_silence_ns)
            or moved(last.value, now.value, self.config.tags.get(tag, UNCHANGED))
        )

    def _derive(self, message: FluxMsg, kept: dict[str, object]) -> FluxMsg:
        """Make the message of some tags of another: its own id, a `ref` to the whole, all else the same."""
        gone = [prefix + tag for tag in message.data.keys() - kept.keys() for prefix in TAG_PREFIXES]
        meta = (
            {name: text for name, text in message.meta.items() if name not in gone} if message.meta else None
        )
        return message.replace(id=new_id(self.context.clock.now_ns()), data=kept, meta=meta, ref=message.id)
