"""The picture of a Rack."""

from fluxrig.rackfile import mermaid


def test_mermaid(passes, good) -> None:
    """Gears are boxes, wires arrows; ports other than the usual are written on them."""
    extra = "  - {wire: press.error -> steady.side, when_full: drop_oldest}\n"
    assert mermaid(passes(good + extra)).splitlines() == [
        "flowchart LR",
        '    g0["press<br/>poll"]',
        '    g1["steady<br/>pass"]',
        '    g2[("uplink")]',
        "    g0 --> g1",
        "    g1 --> g2",
        '    g0 -->|"error, to side, drop oldest"| g1',
    ]


def test_no_name_breaks_the_picture(passes, good) -> None:
    """A gear may be called by a word of Mermaid's own."""
    assert '["end<br/>pass"]' in mermaid(passes(good.replace("steady", "end")))
