"""Writes: only what may be written, in few requests, at once, and each accounted for."""

import asyncio

import pytest

from fluxrig.testing import context
from gears.io_modbus.writer import WRITE

TAGS = {
    "speed": {"at": "holding/10", "write": True, "min": 10, "max": 90, "scale": 0.5},
    "mode": {"at": "holding/11", "write": True, "allowed": [1, 2, 4]},
    "level": {"at": "holding/12", "type": "float32", "write": True, "read_back": True},
    "fixed": {"at": "holding/20"},
    "lamp": {"at": "coil/3", "write": True},
    "horn": {"at": "coil/4", "write": True},
    "missing": {"at": "holding/105", "write": True},
}


async def write(rig, *asked):
    """Ask, and give the accounts by tag."""
    asks = tuple(context("operator").message(data) for data in asked)
    outputs = await rig.gear.process(asks, "in")
    assert not outputs.rejected
    return asks, outputs.ports["out"]


async def test_each_write_is_accounted_for(plant, poll):
    """Old and new value, who asked and which message, when the device took it."""
    rig = await poll(plant.port, TAGS)
    await plant.put("holding", 10, 40)
    [ask], [account] = await write(rig, {"speed": 25})
    assert account.schema == WRITE
    assert account.ref == ask.id
    assert account.ts > ask.ts
    assert account.data == {
        "tag": "speed",
        "at": "holding/10",
        "unit": 1,
        "asked": 25,
        "old": 20.0,
        "new": 25.0,
        "status": "written",
        "by": "rack/operator",
    }
    assert await plant.server.async_getValues(1, 3, 10) == [50]
    await rig.until(lambda message: message.data["speed"] == 25.0)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"speed": 9.9}, "below min 10"),
        ({"speed": 90.1}, "above max 90"),
        ({"speed": float("nan")}, "below min 10"),
        ({"speed": "fast"}, "no number"),
        ({"mode": 3}, "not one of the allowed"),
        ({"fixed": 1}, "read only; it needs write: true"),
        ({"lamp": "on"}, "neither true nor false"),
        ({"level": None}, "no number"),
        ({"spede": 1}, "there is no tag 'spede'"),
        ({"other/speed": 1}, "there is no tag"),
    ],
)
async def test_what_may_not_be_written_is_refused_and_told(plant, poll, asked, why):
    """The device is not asked, and the account says why."""
    rig = await poll(plant.port, TAGS)
    await plant.put("holding", 10, 40, 2)
    [ask], [account] = await write(rig, asked)
    assert account.data["status"] == "refused"
    assert why in account.data["reason"]
    assert account.data["by"] == "rack/operator"
    assert account.ref == ask.id
    assert await plant.server.async_getValues(1, 3, 10, 2) == [40, 2]


async def test_what_stands_side_by_side_is_written_at_once(scripted, poll):
    """Four registers are one request of function 16, two coils one of 15, a lone register one of 6."""
    device = await scripted(echo)
    rig = await poll(device.port, TAGS, every="1h")
    await rig.bench.wait_for(1)
    device.requests.clear()
    _, accounts = await write(rig, {"horn": True, "level": 1.5, "lamp": False, "mode": 2, "speed": 11})
    assert [each.data["status"] for each in accounts].count("refused") == 0
    writes = [request[7] for request in device.requests if request[7] > 4]
    assert writes == [15, 16]
    _, [account] = await write(rig, {"mode": 4})
    assert device.requests[-1][7] == 6
    assert account.data["status"] == "written"


def echo(number, request):
    """A device that has zeros everywhere and takes every write."""
    function, count = request[7], int.from_bytes(request[10:12])
    if function > 4:
        return request[:4] + b"\0\6" + request[6:12]
    size = (count + 7) // 8 if function < 3 else count * 2
    return request[:4] + bytes([0, 3 + size, request[6], function, size]) + bytes(size)


async def test_a_write_is_no_longer_than_the_device_takes(scripted, poll):
    """What `max_registers` and `max_bits` allow holds for writes and for reading what stood there."""
    device = await scripted(echo)
    limits = {"max_registers": 2, "max_bits": 1}
    rig = await poll(device.port, TAGS, every="1h", **limits)
    await rig.bench.wait_for(1)
    device.requests.clear()
    await write(rig, {"speed": 11, "mode": 2, "level": 1.5, "lamp": True, "horn": True})
    assert [request[7] for request in device.requests if request[7] > 4] == [5, 5, 16, 16]
    sizes = [int.from_bytes(request[10:12]) for request in device.requests if request[7] != 5]
    assert max(sizes) == 2


async def test_the_same_tag_twice_is_written_in_order(plant, poll):
    """The last one stands, and both are accounted for."""
    rig = await poll(plant.port, TAGS)
    _, accounts = await write(rig, {"speed": 20}, {"speed": 30})
    assert [(each.data["old"], each.data["new"]) for each in accounts] == [(0.0, 20.0), (20.0, 30.0)]
    assert await plant.server.async_getValues(1, 3, 10) == [60]


async def test_what_the_device_rejects_is_told_by_its_reason(plant, poll):
    """An exception to a write is an answer: the account has its name, polling goes on."""
    rig = await poll(plant.port, TAGS)
    _, [account] = await write(rig, {"missing": 1})
    assert (account.data["status"], account.data["reason"]) == ("rejected", "illegal_data_address")
    assert not rig.losses


async def test_a_write_without_an_answer_is_told_as_such(scripted, poll):
    """Whether the device took it is unknown: it is sent once and not again."""
    device = await scripted(lambda number, request: None if request[7] > 4 else echo(number, request))
    rig = await poll(device.port, {"mode": TAGS["mode"]}, response_timeout="150ms", every="1h")
    await rig.bench.wait_for(1)
    _, [account] = await write(rig, {"mode": 2})
    assert (account.data["status"], account.data["reason"]) == ("unknown", "timeout")
    assert [request[7] for request in device.requests].count(6) == 1


async def test_reading_back_decides(scripted, poll):
    """A device that takes a write and keeps its own value is told from one that has it."""
    device = await scripted(echo)
    rig = await poll(device.port, TAGS, every="1h")
    await rig.bench.wait_for(1)
    _, [account] = await write(rig, {"level": 1.5})
    assert (account.data["status"], account.data["new"]) == ("differs", 0.0)


async def test_a_unit_that_is_away_is_not_written(poll):
    """At once, with the reason: nothing waits for better times."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    rig = await poll(port, TAGS)
    await rig.until_true(lambda: rig.losses)
    _, [account] = await write(rig, {"speed": 20})
    assert (account.data["status"], account.data["reason"]) == ("failed", "disconnected")


async def test_a_write_does_not_wait_for_a_poll_to_end(scripted, poll, answers):
    """With fifty requests still to be polled, the write is the next but one at most."""
    frame, _ = answers
    written = asyncio.Event()

    async def script(number, request):
        await asyncio.sleep(0.01)
        if request[7] > 4:
            written.set()
            return echo(number, request)
        return frame(request, bytes(int.from_bytes(request[10:12]) * 2))

    device = await scripted(script)
    tags = {f"r{n}": {"at": f"holding/{n * 200}"} for n in range(50)}
    rig = await poll(device.port, {**tags, "mode": TAGS["mode"]}, every="10s")
    await rig.until_true(lambda: len(device.requests) >= 5)
    before = len(device.requests)
    await write(rig, {"mode": 2})
    assert written.is_set()
    assert len(device.requests) - before <= 4, "one under way, the old value, one poll between, the write"


async def test_a_message_without_data_is_rejected(plant, poll):
    """It goes where messages go that no gear can take."""
    rig = await poll(plant.port, TAGS)
    outputs = await rig.gear.process((context("operator").message({}),), "in")
    [(_, reason)] = outputs.rejected
    assert "nothing to write" in reason


PARTS = {
    "fan": {"at": "holding/30.3", "write": True, "read_back": True},
    "door": {"at": "holding/30.9", "write": True},
    "step": {"at": "holding/31", "type": "uint8_low", "write": True},
    "alarm": {"at": "holding/30.0"},
}


@pytest.mark.parametrize(("single", "function"), [(True, 6), (False, 16)])
async def test_a_part_of_a_register_is_written_whole_where_the_device_lacks_masks(
    plant, poll, single, function, monkeypatch
):
    """With `read_modify_write` the other bits stay as they were, bits of one register go together, and
    function 22 is never used."""
    await plant.put("holding", 30, 0xA5A1, 0x1234)
    rig = await poll(plant.port, PARTS, read_modify_write=True, single_writes=single)
    functions = []
    for unit in rig.gear.units.values():
        ask = unit.ask

        async def noting(request, ask=ask, **terms):
            functions.append(request.function)
            return await ask(request, **terms)

        monkeypatch.setattr(unit, "ask", noting)
    _, accounts = await write(rig, {"fan": True, "door": False, "step": 0x77})
    assert [each.data["status"] for each in accounts] == ["written"] * 3
    assert await plant.server.async_getValues(1, 3, 30, 2) == [0xA5A1 & ~0x200 | 8, 0x1277]
    assert [each for each in functions if each > 4] == [function] * 2


async def test_a_part_of_a_register_that_cannot_be_read_is_not_written(scripted, poll):
    """Its other bits are not known: nothing is sent, and the account says why."""

    def script(number, request):
        refused = request[:4] + bytes([0, 3, request[6], 0x83, 4])
        return refused if request[7] == 3 else echo(number, request)

    device = await scripted(script)
    rig = await poll(device.port, PARTS, read_modify_write=True, every="1h")
    _, [account] = await write(rig, {"door": True})
    assert account.data["status"] == "failed"
    assert "can't be read" in account.data["reason"]
    assert not [request for request in device.requests if request[7] > 4]


async def test_a_device_without_masks_is_told_with_the_key_that_helps(scripted, poll):
    """Exception 1 to function 22: nothing is tried that could undo what others write, unless asked for."""

    def script(number, request):
        refused = request[:4] + bytes([0, 3, request[6], 0x96, 1])
        return refused if request[7] == 22 else echo(number, request)

    device = await scripted(script)
    rig = await poll(device.port, PARTS, every="1h")
    _, [account] = await write(rig, {"door": True})
    assert account.data["status"] == "rejected"
    assert "read_modify_write" in account.data["reason"]
    assert [request[7] for request in device.requests if request[7] > 4] == [22]


async def test_two_gears_that_write_one_register_undo_nothing_of_each_other(plant, poll):
    """Reading and writing a register for its bits is one step to all that share the endpoint."""
    bits = {f"b{n}": {"at": f"holding/40.{n}", "write": True} for n in range(16)}
    one = await poll(plant.port, dict(list(bits.items())[:8]), read_modify_write=True)
    two = await poll(plant.port, dict(list(bits.items())[8:]), read_modify_write=True)
    asks = [(two if n > 7 else one, n) for n in (0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15)]
    accounts = await asyncio.gather(*(write(rig, {f"b{n}": True}) for rig, n in asks))
    assert {account.data["status"] for _, [account] in accounts} == {"written"}
    assert await plant.server.async_getValues(1, 3, 40) == [0xFFFF]


@pytest.mark.parametrize("value", [1e308, 10**400, -(10**5000)], ids=["float", "large", "huge"])
async def test_a_number_beyond_all_bounds_is_refused_like_any(plant, poll, value):
    """It stops nothing: the account says why, and polling goes on."""
    tags = {"speed": {"at": "holding/10", "write": True, "scale": 1e-5}, "mode": TAGS["mode"]}
    rig = await poll(plant.port, tags)
    _, accounts = await write(rig, {"speed": value}, {"mode": value}, {"mode": 2})
    told = [(account.data["tag"], account.data["status"]) for account in accounts]
    assert told == [("speed", "refused"), ("mode", "refused"), ("mode", "written")]
    await rig.until(lambda message: message.data == {"speed": 0.0, "mode": 2})


async def test_a_refusal_names_the_place_as_a_write_does(plant, poll):
    """The tag of a device is told at the device's own place, whatever came of it; no tag, as it was asked."""
    devices = {"south": {"unit": 1, "tags": {"mode": TAGS["mode"], "fixed": TAGS["fixed"]}}}
    rig = await poll(plant.port, {}, devices=devices)
    _, accounts = await write(rig, {"south/mode": 2}, {"south/mode": 3}, {"south/fixed": 1}, {"mode": 1})
    told = {(each.uns.rpartition("/")[2], each.data["tag"]): each.data for each in accounts[:3]}
    assert {place: data.get("at") for place, data in told.items()} == {
        ("south", "mode"): "holding/11",
        ("south", "fixed"): "holding/20",
        (rig.gear.context.uns.rpartition("/")[2], "mode"): None,
    }
    assert [each.data["status"] for each in accounts] == ["refused", "refused", "refused", "written"]
