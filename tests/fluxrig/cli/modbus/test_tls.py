"""The Modbus commands over TLS: `--tls` says who is trusted."""

import json
import socketserver
import struct
import threading

import pytest

from tests.gears.io_modbus.peers import certificates, server_context


class SecureDevice(socketserver.ThreadingTCPServer):
    """Answers every read with the register 7, over TLS."""

    daemon_threads = True

    def __init__(self, context):
        self.context = context
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self):
        plain, address = self.socket.accept()
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        """A client that does not trust us ends the handshake: nothing to tell."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while len(request := self.rfile.read(12)) == 12:
            transaction, _, _, unit = struct.unpack_from(">HHHB", request)
            self.wfile.write(struct.pack(">HHHBBBH", transaction, 0, 5, unit, 3, 2, 7))


@pytest.fixture
def secure(tmp_path):
    certificate, key = certificates(tmp_path)
    server = SecureDevice(server_context(certificate, key))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"tls://127.0.0.1:{server.server_address[1]}", certificate
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_device_is_trusted_by_its_signer(secure, fluxrig):
    """With `ca=` of who signed the device's certificate, or with verify=false, it is read; else it is not."""
    url, certificate = secure
    for trust in (f"ca={certificate}", "verify=false"):
        ran = fluxrig("read", url, "holding/0", "--tls", trust, "--json")
        assert [value["value"] for value in json.loads(ran.out)["values"]] == [7]
    ran = fluxrig("read", url, "holding/0")
    assert (ran.code, ran.out) == (1, "")
    assert "TLS" in ran.err


@pytest.mark.parametrize(
    ("url", "pairs", "said"),
    [
        ("tcp://127.0.0.1:1", ["ca=x"], "not encrypted"),
        ("tls://127.0.0.1:1", ["cafile=x"], "server_name="),
        ("tls://127.0.0.1:1", ["verify=maybe"], "verify"),
        ("tls://127.0.0.1:1", ["ca=/no/such/file"], "no such file"),
    ],
)
def test_wrong_settings_are_refused(fluxrig, url, pairs, said):
    """They exit with 2 and say which keys there are."""
    ran = fluxrig("read", url, "holding/0", *[word for pair in pairs for word in ("--tls", pair)])
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", "").split())
