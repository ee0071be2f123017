"""Wires: both ends exist, every gear is of use, and no loop can stand still."""

import pytest


def rack(wires: str, extra: str = "") -> str:
    lines = "".join(f"  - {wire}\n" for wire in wires.split("; "))
    return (
        "rack: a\nuns: b\ngears:\n"
        "  src: {kind: poll, endpoint: x, tags: {t: {at: coil/0}}}\n"
        f"{extra}wires:\n{lines}"
    )


PASS = "  mid: {kind: pass}\n"
TWO = PASS + "  two: {kind: pass}\n"
SINK = "  end: {kind: sink}\n"
DEVICE = "  dev: {kind: device, endpoint: x, tags: {t: {at: coil/0}}}\n"


@pytest.mark.parametrize(
    ("wires", "extra", "ends"),
    [
        ("src -> uplink", "", ["src.out>uplink.in"]),
        ("src->mid->uplink", PASS, ["src.out>mid.in", "mid.out>uplink.in"]),
        ("src -> mid.side -> uplink", PASS, ["src.out>mid.side", "mid.out>uplink.in"]),
        ("src -> mid.low -> uplink", PASS, ["src.out>mid.in", "mid.low>uplink.in"]),
        ("src.error -> end; src -> uplink", SINK, ["src.error>end.in", "src.out>uplink.in"]),
        ("src -> uplink; uplink.error -> end", SINK, ["src.out>uplink.in", "uplink.error>end.in"]),
        ("src -> dev", DEVICE, ["src.out>dev.in"]),
    ],
)
def test_chains(passes, wires: str, extra: str, ends: list[str]) -> None:
    """A chain is its wires; in its middle a named port counts for the side that has it."""
    assert [f"{wire.source}>{wire.target}" for wire in passes(rack(wires, extra)).wires] == ends


@pytest.mark.parametrize(
    ("wires", "extra", "fault"),
    [
        ("src -> uplnk", "", "there is no gear 'uplnk'; did you mean 'uplink'?"),
        ("scr -> uplink", "", "there is no gear 'scr'; did you mean 'src'?"),
        ("src.ot -> uplink", "", "'src' has no output 'ot'; did you mean 'out'?"),
        ("src -> mid.xyz", PASS, "'mid' has no input 'xyz'; it has: in, side"),
        ("mid -> src", PASS, "'src' has no input: it is a source"),
        ("end -> uplink", SINK, "'end' has no output but 'error': it is a sink"),
        ("uplink -> mid", PASS, "'uplink' has no output but 'error': it is a sink"),
        ("src -> mid.error", PASS, "'mid' has no input 'error'; it has: in, side"),
        ("src", "", "'src' is no wire; write from -> to"),
        ("'src ->'", "", "'' is no end of a wire; write gear or gear.port"),
        ("src -> a.b.c", "", "'a.b.c' is no end of a wire"),
        ("src -> up link", "", "'up link' is no end of a wire"),
        ("5", "", "a wire is text such as press -> uplink, or {wire:"),
        ("src -> uplink; src.out -> uplink.in", "", "the wire src.out -> uplink.in is already at line 6"),
        ("src -> uplink", PASS, "nothing is wired to 'mid'"),
        ("src -> uplink; mid -> uplink", PASS, "nothing reaches 'mid'"),
        ("src -> mid", PASS, "what 'mid' puts out goes nowhere; add a wire such as mid -> uplink"),
        ("src.error -> uplink", "", "what 'src' puts out goes nowhere"),
    ],
)
def test_faults(fails, wires: str, extra: str, fault: str) -> None:
    """A wire or gear that cannot work gives one fault that says why."""
    faults = fails(rack(wires, extra))
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_fault_stands_at_its_wire(fails) -> None:
    """A wire's fault is at the wire's text, also when it has settings."""
    assert fails(rack("src -> uplink; {queue: 5, wire: src -> nowhere}"))[0].startswith("7:22: ")


@pytest.mark.parametrize(
    ("wires", "loop"),
    [
        ("src -> mid -> mid; mid -> uplink", "mid -> mid"),
        ("src -> mid -> two -> mid.side; two -> uplink", "mid -> two -> mid"),
        ("src -> mid -> two -> uplink; two.error -> mid.side", "mid -> two -> mid"),
    ],
)
def test_a_loop_needs_its_bound(fails, passes, wires: str, loop: str) -> None:
    """A loop of blocking wires is refused; one wire that drops opens it."""
    extra = TWO if "two" in wires else PASS
    [fault] = fails(rack(wires, extra))
    assert f"{loop} is a loop" in fault
    closing = {"mid": "mid -> mid", "two": "two -> mid.side"}
    if "two.error" in wires:
        closing["two"] = "two.error -> mid.side"
    wire = closing["two" if "two" in wires else "mid"]
    opened = wires.replace(" -> " + wire.split(" -> ")[1] + ";", ";", 1) if "error" not in wires else wires
    opened = opened.replace("; two.error -> mid.side", "") + f"; {{wire: {wire}, when_full: drop_oldest}}"
    assert passes(rack(opened, extra))


def test_a_long_loop(fails) -> None:
    """A loop through thousands of gears is found without deep recursion, and named in short."""
    extra = "".join(f"  g{n}: {{kind: pass}}\n" for n in range(3000))
    chain = " -> ".join(f"g{n}" for n in range(3000))
    [fault] = fails(rack(f"src -> {chain} -> uplink; g2999.low -> g0.side", extra))
    assert "g0 -> g1" in fault
    assert len(fault) < 400


def test_no_fault_follows_from_a_broken_wire(fails) -> None:
    """A typo in a wire is not followed by complaints that its gears are not wired."""
    assert len(fails(rack("src -> mid -> uplnk", PASS))) == 1
    assert len(fails(rack("src -> mid -> uplink", PASS.replace("pass", "pas")))) == 1
