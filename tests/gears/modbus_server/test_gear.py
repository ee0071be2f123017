"""The server as clients see it: pymodbus's own client against the gear on a real socket."""

import asyncio
import contextlib
import socket
import struct

import pytest

from fluxrig.errors import Fatal, FluxrigError, NotReady
from fluxrig.message import EVENT, TAGS
from fluxrig.testing import ManualClock, Workbench, check_gear, context
from gears.modbus_server.config import MANIFEST, Config
from gears.modbus_server.gear import ModbusServer

TAGS_OF_ALL_TABLES = {
    "running": {"at": "coil/0", "write": True},
    "alarm": {"at": "discrete/3"},
    "pressure": {"at": "holding/0", "type": "float32", "order": "CDAB", "unit": "bar"},
    "level": {"at": "input/7", "type": "int16"},
    "speed": {"at": "holding/10", "write": True, "min": 0, "max": 300, "unit": "1/min"},
    "total": {"at": "holding/20", "type": "uint32", "write": True},
    "motor_on": {"at": "holding/30.3", "write": True},
    "motor_hot": {"at": "holding/30.4"},
}
VALUES = {
    "running": True,
    "alarm": False,
    "pressure": 4.25,
    "level": -12,
    "speed": 60,
    "total": 70_000,
    "motor_on": False,
    "motor_hot": True,
}
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, FAILURE, ACKNOWLEDGE, BUSY, NO_UNIT = 1, 2, 3, 4, 5, 6, 11


def code(answer):
    """The exception code of an answer, or None."""
    return answer.exception_code if answer.isError() else None


async def test_it_keeps_the_gear_contract():
    """The public conformance kit passes, with a client that writes to whatever listens."""
    tags = {"n": {"at": "holding/0", "write": True}}
    config = Config.model_validate({"listen": "tcp://127.0.0.1:0", "tags": tags})
    batch = (context().message({"n": 1, "other": "x"}), context().event("started", "unrelated"))
    gears = []

    def make(made):
        gears.append(ModbusServer(config, made))
        return gears[-1]

    writing = asyncio.create_task(_write_to(gears))
    await check_gear(make, MANIFEST, inputs=[batch])
    writing.cancel()


async def _write_to(gears):
    request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 6, 0, 5)
    while True:
        for gear in list(gears):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", gear.port)
                writer.write(request)
                writer.close()
        await asyncio.sleep(0.01)


async def test_each_table_is_read_with_its_function(serve, connect):
    """Functions 1 to 4 give what came in, by type, order and address."""
    served = await serve(TAGS_OF_ALL_TABLES)
    await served.put(VALUES)
    client = await connect(served)
    assert (await client.read_coils(0, count=1)).bits[0] is True
    assert (await client.read_discrete_inputs(3, count=1)).bits[0] is False
    low, high = (await client.read_holding_registers(0, count=2)).registers
    assert struct.unpack(">f", struct.pack(">HH", high, low)) == (4.25,)
    assert (await client.read_input_registers(7, count=1)).registers == [65536 - 12]
    assert (await client.read_holding_registers(30, count=1)).registers == [0b10000]


async def test_a_value_that_is_not_known_is_never_made_up(serve, connect):
    """Before the first value, and while a tag is bad, reads get exception 4, and others are not touched."""
    served = await serve({"a": {"at": "holding/0"}, "b": {"at": "holding/1"}})
    client = await connect(served)
    assert code(await client.read_holding_registers(0, count=1)) == FAILURE
    await served.put({"a": 7, "b": 8})
    assert (await client.read_holding_registers(0, count=2)).registers == [7, 8]
    for meta, value in (({"quality.a": "bad:timeout"}, None), ({"quality.a": "stale"}, 7), (None, None)):
        await served.put({"a": value, "b": 9}, meta=meta)
        assert code(await client.read_holding_registers(0, count=1)) == FAILURE
        assert code(await client.read_holding_registers(0, count=2)) == FAILURE
        assert (await client.read_holding_registers(1, count=1)).registers == [9]
    await served.put({"a": 10})
    assert (await client.read_holding_registers(0, count=2)).registers == [10, 9]


async def test_the_last_value_is_kept_only_where_that_is_asked_for(serve, connect):
    """With `when_bad: last` a bad tag keeps its last good value; one that never had any gets exception 4."""
    served = await serve({"a": {"at": "holding/0"}}, when_bad="last")
    client = await connect(served)
    assert code(await client.read_holding_registers(0, count=1)) == FAILURE
    await served.put({"a": 7})
    await served.put({"a": None}, meta={"quality.a": "bad:timeout"})
    assert (await client.read_holding_registers(0, count=1)).registers == [7]


async def test_a_value_grows_too_old(serve, connect):
    """With `max_age` a tag that got no value for longer is bad."""
    clock = ManualClock()
    served = await serve({"a": {"at": "holding/0"}}, clock=clock, max_age="10s")
    client = await connect(served)
    await served.put({"a": 7})
    await clock.advance(10)
    assert (await client.read_holding_registers(0, count=1)).registers == [7]
    await clock.advance(0.001)
    assert code(await client.read_holding_registers(0, count=1)) == FAILURE


async def test_a_value_that_does_not_fit_is_bad(serve, connect):
    """A value beyond its type, of the wrong kind or not finite is never cut to fit."""
    served = await serve({"a": {"at": "holding/0"}})
    client = await connect(served)
    for value in (70_000, -1, 1.5, "text", float("nan"), [1]):
        await served.put({"a": 7})
        assert (await client.read_holding_registers(0, count=1)).registers == [7]
        await served.put({"a": value})
        assert code(await client.read_holding_registers(0, count=1)) == FAILURE, value


async def test_addresses_without_a_tag(serve, connect):
    """They get exception 2; with `holes: zero` those between two tags read as 0, those around them do not."""
    tags = {"a": {"at": "holding/5"}, "b": {"at": "holding/8"}, "c": {"at": "coil/1"}, "d": {"at": "coil/3"}}
    for holes, expected in (("exception", None), ("zero", [1, 0, 0, 2])):
        served = await serve(tags, holes=holes)
        await served.put({"a": 1, "b": 2, "c": True, "d": True})
        client = await connect(served)
        answer = await client.read_holding_registers(5, count=4)
        assert (code(answer), answer.registers or None) == (None if expected else ILLEGAL_ADDRESS, expected)
        for start, count in ((4, 2), (8, 2), (65535, 2), (65535, 1), (0, 1)):
            assert code(await client.read_holding_registers(start, count=count)) == ILLEGAL_ADDRESS
        assert code(await client.read_input_registers(5, count=1)) == ILLEGAL_ADDRESS
        answer = await client.read_coils(1, count=3)
        assert answer.bits[:3] == [True, False, True] if expected else code(answer) == ILLEGAL_ADDRESS


async def test_a_source_is_heeded(serve, connect):
    """Two gears with tags of one name are told apart by `source`, and `tag` names the tag of the message."""
    tags = {
        "left": {"at": "holding/0", "tag": "pressure", "source": "press-1"},
        "right": {"at": "holding/1", "tag": "pressure", "source": "press-2"},
    }
    served = await serve(tags)
    client = await connect(served)
    await served.put({"pressure": 1}, gear="press-1")
    await served.put({"pressure": 2}, gear="press-2")
    await served.put({"pressure": 3, "left": 4}, gear="press-3")
    assert (await client.read_holding_registers(0, count=2)).registers == [1, 2]


async def test_addresses_may_count_from_one(serve, connect):
    """With `address_base: 1` holding/1 is the first register; a reference such as 40002 is itself."""
    served = await serve({"a": {"at": "holding/1"}, "b": {"at": 40002}}, address_base=1)
    await served.put({"a": 1, "b": 2})
    client = await connect(served)
    assert (await client.read_holding_registers(0, count=2)).registers == [1, 2]


async def test_a_unit_is_heeded(serve, connect):
    """Every unit is answered, or only the one that is named; the others get exception 11."""
    for unit, known in ((None, {0, 1, 9, 255}), (9, {9})):
        served = await serve({"a": {"at": "holding/0"}}, unit=unit)
        await served.put({"a": 7})
        client = await connect(served)
        for asked in (1, 9, 255):
            answer = await client.read_holding_registers(0, count=1, device_id=asked)
            assert code(answer) == (None if asked in known else NO_UNIT)


async def test_what_a_client_writes_is_a_message(serve, connect):
    """Each write function gives one message with the values by tag, who wrote, and how; then the answer."""
    served = await serve(TAGS_OF_ALL_TABLES)
    await served.put(VALUES)
    client = await connect(served)
    answers = [
        await client.write_coil(0, False),
        await client.write_coils(0, [True]),
        await client.write_register(10, 120),
        await client.write_registers(20, [1, 2]),
        await client.mask_write_register(address=30, and_mask=0xFFFF & ~8, or_mask=8),
    ]
    assert [code(answer) for answer in answers] == [None] * 5
    messages = served.bench.out
    assert [message.data for message in messages] == [
        {"running": False},
        {"running": True},
        {"speed": 120},
        {"total": 65538},
        {"motor_on": True},
    ]
    assert {message.schema for message in messages} == {TAGS}
    assert [message.meta["function"] for message in messages] == [
        "write_single_coil",
        "write_multiple_coils",
        "write_single_register",
        "write_multiple_registers",
        "mask_write_register",
    ]
    assert all(message.meta["client"].startswith("127.0.0.1:") for message in messages)
    assert messages[2].meta["unit.speed"] == "1/min"


async def test_reading_and_writing_at_once(serve, connect):
    """Function 23 writes first; what it reads is what the plant says then. What it may not write or can't
    read is refused whole, and nothing is written."""
    served = await serve(TAGS_OF_ALL_TABLES)
    await served.put(VALUES)
    client = await connect(served)

    def ask(write, values, read=10, count=1):
        return client.readwrite_registers(
            read_address=read, read_count=count, write_address=write, values=values
        )

    deliver = served.gear._outbox.deliver

    async def and_back(port, message, limit_s):
        outcome = await deliver(port, message, limit_s)
        await served.put(message.data)
        return outcome

    served.gear._outbox.deliver = and_back
    assert (await ask(10, [120])).registers == [120]
    assert (await ask(20, [1, 2], read=0, count=2)).registers == [0, 16520]
    assert [message.data for message in served.bench.out] == [{"speed": 120}, {"total": 65538}]
    assert served.bench.out[0].meta["function"] == "read_write_multiple_registers"
    refused = [
        (await ask(0, [1, 2]), ILLEGAL_ADDRESS),  # a tag that may not be written
        (await ask(10, [301]), ILLEGAL_VALUE),  # above its max
        (await ask(10, [5], read=40), ILLEGAL_ADDRESS),  # no tag to be read
    ]
    assert [code(answer) for answer, _ in refused] == [expected for _, expected in refused]
    assert len(served.bench.out) == 2


async def test_what_is_written_shows_when_it_comes_back(serve, connect):
    """A client reads what the plant says, not what it asked for."""
    served = await serve({"speed": {"at": "holding/10", "write": True}})
    await served.put({"speed": 60})
    client = await connect(served)
    assert code(await client.write_register(10, 120)) is None
    assert (await client.read_holding_registers(10, count=1)).registers == [60]
    await served.put({"speed": 120})
    assert (await client.read_holding_registers(10, count=1)).registers == [120]


async def test_it_is_read_only_unless_told(serve, connect):
    """A write that touches a tag without `write: true` changes nothing and is refused; the event says why."""
    served = await serve(TAGS_OF_ALL_TABLES)
    await served.put(VALUES)
    client = await connect(served)
    refused = [
        (await client.write_registers(0, [1, 2]), ILLEGAL_ADDRESS),  # a tag that may not be written
        (await client.write_register(20, 1), ILLEGAL_VALUE),  # half a value
        (await client.write_registers(10, [1, 2]), ILLEGAL_ADDRESS),  # beyond a tag
        (await client.write_register(10, 301), ILLEGAL_VALUE),  # above its max
        (await client.write_register(30, 0b1000), ILLEGAL_ADDRESS),  # clears a read-only bit beside it
        (await client.write_register(30, 0b11001), ILLEGAL_VALUE),  # sets a bit of no tag
        (await client.mask_write_register(address=30, and_mask=0xFFEF, or_mask=0), ILLEGAL_ADDRESS),
        (await client.write_coil(1, True), ILLEGAL_ADDRESS),  # no tag
    ]
    assert [code(answer) for answer, _ in refused] == [expected for _, expected in refused]
    assert served.bench.out == []
    events = await served.bench.wait_for(len(refused), port="error")
    assert {(event.schema, event.data["event"]) for event in events} == {(EVENT, "write_refused")}
    assert [event.data["exception"] for event in events] == [expected for _, expected in refused]
    assert code(await client.write_register(30, 0b11000)) is None
    assert [message.data for message in served.bench.out] == [{"motor_on": True}]


async def test_a_table_without_writable_tags_has_no_write_function(serve, connect):
    """Where no tag says `write: true`, a write gets exception 1 (illegal function)."""
    served = await serve({"a": {"at": "holding/0"}, "b": {"at": "coil/0"}})
    await served.put({"a": 1, "b": True})
    client = await connect(served)
    assert code(await client.write_register(0, 1)) == ILLEGAL_FUNCTION
    assert code(await client.write_coil(0, True)) == ILLEGAL_FUNCTION
    assert code(await client.report_device_id()) == ILLEGAL_FUNCTION


async def test_a_write_is_answered_once_it_is_safe(serve, connect):
    """The answer waits for the receipt: exception 4 if that fails, exception 5 if it takes too long."""
    bench = Workbench(hold=True)
    served = await serve({"a": {"at": "holding/0", "write": True}}, bench=bench, write_timeout="60s")
    client = await connect(served)
    writing = asyncio.create_task(client.write_register(0, 5))
    await bench.wait_for(1)
    assert not writing.done()
    bench.settle()
    assert code(await writing) is None
    writing = asyncio.create_task(client.write_register(0, 6))
    await bench.wait_for(2)
    bench.settle(FluxrigError("the device is gone"))
    assert code(await writing) == FAILURE


async def test_a_write_that_takes_long_is_acknowledged(serve, connect):
    """After `write_timeout` the client hears exception 5: accepted, under way. Nothing is taken back."""
    tags = {"a": {"at": "holding/0", "write": True}}
    served = await serve(tags, bench=Workbench(hold=True), write_timeout="1ms")
    assert code(await (await connect(served)).write_register(0, 5)) == ACKNOWLEDGE
    assert [message.data for message in await served.bench.wait_for(1)] == [{"a": 5}]


async def test_a_write_while_the_rack_stops_is_refused(serve, connect):
    """With nobody to take it, a write gets exception 6 (busy), and reads go on."""
    served = await serve({"a": {"at": "holding/0", "write": True}})
    await served.put({"a": 1})
    client = await connect(served)
    served._task.cancel()
    await asyncio.gather(served._task, return_exceptions=True)
    assert code(await client.write_register(0, 5)) == BUSY
    assert (await client.read_holding_registers(0, count=1)).registers == [1]


async def test_messages_of_other_schemas_are_no_values(serve, connect):
    """An event with a field of a tag's name changes nothing."""
    served = await serve({"detail": {"at": "holding/0", "type": "string", "length": 4}})
    await served.gear.process((context().event("x", "abcd"),), "in")
    assert code(await (await connect(served)).read_holding_registers(0, count=2)) == FAILURE


async def test_values_outlast_a_reopening(serve, connect):
    """When the engine closes and opens the gear again, what is known is still served."""
    served = await serve({"a": {"at": "holding/0"}})
    await served.put({"a": 7})
    await served.gear.close()
    await served.gear.open()
    assert (await (await connect(served)).read_holding_registers(0, count=1)).registers == [7]


async def test_a_port_in_use_is_tried_again():
    """A place that can't be listened on asks the engine to try later, and says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = {"listen": f"tcp://127.0.0.1:{port}", "tags": {"a": {"at": "holding/0"}}}
        gear = ModbusServer(Config.model_validate(config), context())
        with pytest.raises((NotReady, Fatal), match="in use"):
            await gear.open()
    await gear.open()
    await gear.close()
