"""Clients that misbehave: each costs itself, and no other."""

import asyncio
import struct

import pytest

from gears.modbus_server.image import Image
from gears.modbus_server.pdu import Request, answer, refusal

READ = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 1)
TAG = {"a": {"at": "holding/0"}}


async def ended(reader):
    """Wait until the server closed the connection, and give what it sent before."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def ask(reader, writer, frame=READ):
    writer.write(frame)
    async with asyncio.timeout(10):
        head = await reader.readexactly(6)
        return head + await reader.readexactly(struct.unpack(">H", head[4:])[0])


async def test_one_byte_at_a_time_is_a_request(serve, dial):
    """How a request is cut into segments does not matter."""
    served = await serve(TAG)
    await served.put({"a": 7})
    reader, writer = await dial(served)
    for byte in READ[:-1]:
        writer.write(bytes([byte]))
        await writer.drain()
    assert await ask(reader, writer, READ[-1:]) == struct.pack(">HHHBBBH", 1, 0, 5, 1, 3, 2, 7)


async def test_requests_at_once_are_answered_in_order(serve, dial):
    """A client may send several requests before it reads; each answer has its transaction id."""
    served = await serve(TAG)
    await served.put({"a": 7})
    reader, writer = await dial(served)
    writer.write(b"".join(struct.pack(">HHHBBHH", n, 0, 6, 1, 3, 0, 1) for n in range(50)))
    answers = await reader.readexactly(50 * 11)
    assert [struct.unpack_from(">H", answers, 11 * n)[0] for n in range(50)] == list(range(50))


@pytest.mark.parametrize(
    "junk",
    [
        struct.pack(">HHHBB", 1, 1, 6, 1, 3),
        struct.pack(">HHHBB", 1, 0, 0, 1, 3),
        struct.pack(">HHHBB", 1, 0, 1, 1, 3),
        struct.pack(">HHHBB", 1, 0, 255, 1, 3),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 300,
    ],
)
async def test_what_is_no_modbus_ends_the_connection(serve, dial, junk):
    """A wrong protocol id or length can't be answered; other clients go on."""
    served = await serve(TAG)
    await served.put({"a": 7})
    healthy = await dial(served)
    reader, writer = await dial(served)
    writer.write(junk)
    assert await ended(reader) == b""
    assert (await ask(*healthy))[-2:] == b"\0\7"


async def test_a_request_of_the_wrong_length_is_refused(serve, dial):
    """One that is too short, too long or inconsistent gets exception 3, and the next is answered."""
    served = await serve({"a": {"at": "holding/0", "write": True}, "b": {"at": "coil/0", "write": True}})
    await served.put({"a": 7})
    reader, writer = await dial(served)
    bad = [
        b"\3\0\0\0",
        b"\3\0\0\0\0",
        b"\3\0\0\0\x7e",
        b"\3\0\0\0\1\0",
        b"\6\0\0",
        b"\5\0\0\0\1",
        b"\x10\0\0",
    ]
    bad += [
        b"\x10\0\0\0\1\3\0\0\0",
        b"\x10\0\0\0\1\2\0",
        b"\x10\0\0\0\0\0",
        b"\x0f\0\0\0\1\2\0\0",
        b"\x16\0\0\0",
    ]
    bad += [b"\x10\0\0\0\x7c\xf8" + bytes(240)]
    for pdu in bad:
        reply = await ask(reader, writer, struct.pack(">HHHB", 9, 0, len(pdu) + 1, 1) + pdu)
        assert reply == struct.pack(">HHHBBB", 9, 0, 3, 1, pdu[0] | 0x80, 3), pdu
    assert (await ask(reader, writer))[-2:] == b"\0\7"
    assert served.bench.out == []


async def test_no_more_clients_than_allowed(serve, dial):
    """One more is closed at once; when one goes, the next is let in."""
    served = await serve(TAG, max_clients=2)
    await served.put({"a": 7})
    first, second = await dial(served), await dial(served)
    await ask(*first)
    await ask(*second)
    third = await dial(served)
    assert await ended(third[0]) == b""
    first[1].close()
    async with asyncio.timeout(10):
        while True:
            reader, writer = await dial(served)
            try:
                assert (await ask(reader, writer))[-2:] == b"\0\7"
                break
            except (asyncio.IncompleteReadError, ConnectionError):
                await asyncio.sleep(0.005)
    assert (await ask(*second))[-2:] == b"\0\7"


async def test_only_from_the_networks_allowed(serve, dial):
    """A client from elsewhere is closed at once."""
    closed = await serve(TAG, allow=["10.0.0.0/8", "fd00::/8"])
    assert await ended((await dial(closed))[0]) == b""
    open_ = await serve(TAG, allow=["127.0.0.0/8"])
    await open_.put({"a": 7})
    assert (await ask(*await dial(open_)))[-2:] == b"\0\7"


async def test_a_silent_client_is_let_go(serve, dial):
    """Nothing, or half a request, for `idle_timeout` ends the connection."""
    served = await serve(TAG, idle_timeout="50ms")
    for start in (b"", READ[:9]):
        reader, writer = await dial(served)
        writer.write(start)
        assert await ended(reader) == b""


async def test_a_client_that_does_not_read_is_let_go(serve, dial):
    """One that asks and asks and takes no answer can't fill the memory: it is let go after `idle_timeout`."""
    served = await serve({f"t{n}": {"at": f"holding/{n}"} for n in range(125)}, idle_timeout="200ms")
    await served.put({f"t{n}": n for n in range(125)})
    reader, writer = await dial(served)
    reader._transport.pause_reading()
    request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 125) * 1000
    async with asyncio.timeout(20):
        with pytest.raises(ConnectionError):
            await _write_for_ever(writer, request)


async def _write_for_ever(writer, request):
    while True:
        writer.write(request)
        await writer.drain()


async def test_closing_lets_go_of_everyone(serve, dial):
    """After close() no connection and no task is left."""
    before = asyncio.all_tasks()
    served = await serve(TAG)
    clients = [await dial(served) for _ in range(5)]
    for _, writer in clients:
        writer.write(READ)
    await asyncio.gather(*(client[0].readexactly(9) for client in clients))
    await served.stop()
    for reader, _ in clients:
        assert await ended(reader) == b""
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
    await served.gear.open()


def test_any_function_has_an_answer():
    """Whatever the function, the answer is its exception and never an error of ours."""
    from gears.modbus_server.image import Refused

    image = Image([])
    for function in range(256):
        for rest in (b"", b"\0\0", b"\0\0\0\1", bytes(6), b"\xff" * 252):
            with pytest.raises(Refused) as raised:
                answer(Request(bytes([function]) + rest, image, {}, 0))
            assert refusal(function, raised.value.code)[0] == function | 0x80
