"""Peers on loopback and on pseudo-terminals: real pymodbus servers, and what may stand between."""

import asyncio
import contextlib
import os
import shutil
import ssl
import struct
import subprocess
import tty
import weakref

import pytest
from pymodbus import FramerType
from pymodbus.framer import FramerRTU
from pymodbus.server import ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 400
BITS = 512


def device(unit):
    bits = [[SimData(0, values=[False] * BITS, datatype=DataType.BITS)] for _ in range(2)]
    registers = [[SimData(0, count=REGISTERS, values=0, datatype=DataType.REGISTERS)] for _ in range(2)]
    return SimDevice(unit, simdata=(*bits, *registers))


async def start_server(*units, kind=ModbusTcpServer, framer=FramerType.SOCKET, **more):
    """Serve units of zeros, and give the server and its port."""
    server = kind([device(unit) for unit in units], address=("127.0.0.1", 0), framer=framer, **more)
    await server.serve_forever(background=True)
    transport = server.transport
    sockets = getattr(transport, "sockets", None) or [transport.get_extra_info("socket")]
    return server, sockets[0].getsockname()[1]


class PtyBridge:
    """A serial line of the system: bytes go to a TCP port and come from there, but for what `hurt` does."""

    def __init__(self, port):
        self.port = port
        self.hurt = lambda data: data
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)

    async def start(self):
        os.set_blocking(self.master, False)
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        asyncio.get_running_loop().add_reader(self.master, self._up)
        self._task = asyncio.create_task(self._down())

    def _up(self):
        with contextlib.suppress(OSError):
            self._writer.write(os.read(self.master, 4096))

    def say(self, data):
        os.write(self.master, data)

    async def _down(self):
        while data := await self._reader.read(4096):
            data = self.hurt(data)
            if asyncio.iscoroutine(data):
                data = await data
            if data:
                self.say(data)

    async def stop(self):
        asyncio.get_running_loop().remove_reader(self.master)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        os.close(self.master)
        os.close(self.slave)


class FaultProxy:
    """Stands between a gear and a Modbus TCP server, and lets `fault` decide over each answer.

    `fault(unit, answer)` gives the bytes to pass on (nothing at all for None), or CLOSE, or HANG. It may be
    a coroutine function. Transaction ids come through as they are.
    """

    CLOSE = object()
    HANG = object()

    def __init__(self, port):
        self.port = port
        self.fault = lambda unit, answer: answer
        self.at_once = None
        """How many connections may be open; a further one is closed."""
        self.open = 0
        self.accepted = 0
        self.requests = []
        self._tasks = set()
        self._writers = weakref.WeakSet()

    async def start(self, tls=None):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        self.accepted += 1
        self.open += 1
        up_writer = None
        try:
            if self.at_once is not None and self.open > self.at_once:
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
            while True:
                request = await self._frame(reader)
                self.requests.append((request[6], request[7], asyncio.get_running_loop().time()))
                up_writer.write(request)
                result = self.fault(request[6], await self._frame(up_reader))
                if asyncio.iscoroutine(result):
                    result = await result
                if result is self.CLOSE:
                    return
                if result is self.HANG:
                    await asyncio.sleep(3600)
                for part in result if isinstance(result, list) else [result]:
                    if part is self.CLOSE:
                        return
                    if part:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(asyncio.current_task())
            for each in (writer, up_writer):
                if each is not None:
                    each.close()

    async def _frame(self, reader):
        head = await reader.readexactly(6)
        return head + await reader.readexactly(struct.unpack_from(">H", head, 4)[0])

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class DatagramProxy(asyncio.DatagramProtocol):
    """Takes datagrams, asks a Modbus TCP server, whose frames are the same, and lets `fault` decide over each
    answer. (A pymodbus server that speaks UDP mixes up clients that ask at once.)

    `fault(unit, answer)` gives the datagram to pass on, or several, or None. It may be a coroutine function.
    """

    def __init__(self, port):
        self.port = port
        self.fault = lambda unit, answer: answer
        self._one_at_a_time = asyncio.Lock()
        self._tasks = set()

    async def start(self):
        make = asyncio.get_running_loop().create_datagram_endpoint
        self._down, _ = await make(lambda: self, local_addr=("127.0.0.1", 0))
        self.own_port = self._down.get_extra_info("sockname")[1]
        self._foreign, _ = await make(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)

    def datagram_received(self, data, addr):
        task = asyncio.create_task(self._pass_on(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, request, client):
        async with self._one_at_a_time:
            self._writer.write(request)
            answer = await self._reader.readexactly(6)
            answer += await self._reader.readexactly(struct.unpack_from(">H", answer, 4)[0])
        result = self.fault(request[6], answer)
        if asyncio.iscoroutine(result):
            result = await result
        for each in result if isinstance(result, list) else [result]:
            if each is not None:
                sender = self._foreign if isinstance(each, self.Foreign) else self._down
                sender.sendto(each, client)

    class Foreign(bytes):
        """A datagram that comes from somebody else."""

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in (self._down, self._foreign, self._writer):
            each.close()
        await asyncio.sleep(0)  # transports close on the loop's next turn


def certificates(folder):
    """Make a certificate for localhost with its key, or skip where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed; it makes the certificates")
    certificate, key = folder / "device.crt", folder / "device.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


SERVERS = {"tcp": ModbusTcpServer, "tls": ModbusTlsServer, "udp": ModbusUdpServer}


def framed(body):
    """Add the checksum that RTU has, by pymodbus's reckoning."""
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


class SerialUnits:
    """Units of a serial line. Each answers one request after the other, as late as `delay_s` says.

    Register r of unit u holds 1000 u + r; `present` are those that exist. `knows_echo` says whether function
    8 is answered, refused, or passed over in silence. `delay_s(unit, number)` is None for no answer.
    """

    ANSWERS, REFUSES, SILENT = "answers", "refuses", "silent"

    def __init__(self, say, *, knows_echo=ANSWERS, present=range(200)):
        self.say = say
        self.delay_s = lambda unit, number: 0
        self.knows_echo = knows_echo
        self.present = present
        self.requests = []
        self._rest = b""
        self._units = {}

    def take(self, data):
        self._rest += data
        while len(self._rest) >= 8:
            request, self._rest = self._rest[:8], self._rest[8:]
            if request[0] not in self._units:
                queue = asyncio.Queue()
                self._units[request[0]] = (queue, asyncio.create_task(self._work(queue)))
            self._units[request[0]][0].put_nowait(request)

    async def _work(self, queue):
        while True:
            unit, function, start, count = struct.unpack(">BBHH", (await queue.get())[:6])
            self.requests.append((unit, function, start, count))
            delay_s = self.delay_s(unit, len(self.requests))
            answer = self._answer(unit, function, start, count)
            if delay_s is None or answer is None:
                continue
            await asyncio.sleep(delay_s)
            self.say(framed(bytes([unit]) + answer))

    def _answer(self, unit, function, start, count):
        if function == 8:
            asked = struct.pack(">BHH", 8, start, count)
            return {self.ANSWERS: asked, self.REFUSES: b"\x88\x01", self.SILENT: None}[self.knows_echo]
        if function != 3:
            return bytes([function | 0x80, 1])
        if not {start, start + count - 1} <= set(self.present):
            return b"\x83\x02"
        values = [1000 * unit + n for n in range(start, start + count)]
        return struct.pack(f">BB{count}H", 3, 2 * count, *values)

    async def stop(self):
        tasks = [task for _, task in self._units.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Pty:
    """A serial line of the system whose other end is here."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.url = f"rtu://{os.ttyname(self.slave)}?baud=115200"

    async def start(self, take):
        asyncio.get_running_loop().add_reader(self.master, lambda: take(os.read(self.master, 4096)))

    def say(self, data):
        os.write(self.master, data)

    async def stop(self):
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)


class DeviceServer:
    """A serial line behind a plug of the network: whoever is connected hears what comes, however late."""

    def __init__(self):
        self._writer = None

    async def start(self, take):
        async def serve(reader, writer):
            self._writer = writer
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while data := await reader.read(4096):
                    take(data)
            writer.close()

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"rtu+tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def say(self, data):
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    async def stop(self):
        self._server.close()
        if self._writer is not None:
            self._writer.close()
