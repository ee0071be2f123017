"""One direction of a connection: the bytes that were sent, in order, or a gap of the right length."""

from hypothesis import given
from hypothesis import strategies as st

from gears.network_sniffer.stream import HELD_COST, Budget, Stream


class Bytes:
    """Keeps what a stream hands on; a gap is as many bytes of None."""

    def __init__(self):
        self.got = []
        self.gaps = 0

    def data(self, payload, frame, ts):
        self.got += payload

    def gap(self, lost, *, cut):
        self.gaps += 1
        self.got += [None] * lost

    def late(self, payload, frame, ts, position):
        assert self.got[position : position + len(payload)] == [None] * len(payload)
        self.got[position : position + len(payload)] = payload

    def boundary(self):
        pass


def stream(limit=1 << 20, total=1 << 30, start=0):
    sink = Bytes()
    made = Stream(sink, Budget(limit, total))
    if start is not None:
        made.start(start)
    return made, sink


def send(made, seq, payload, missing=0):
    made.segment(seq & 0xFFFFFFFF, payload, missing, 1, 1)


def test_order():
    """Segments out of order, sent again and overlapping give each byte once."""
    made, sink = stream()
    for seq, payload in [(2, b"cd"), (0, b"ab"), (0, b"ab"), (3, b"def"), (8, b"ij"), (5, b"fgh")]:
        send(made, seq, payload)
    assert bytes(sink.got) == b"abcdefghij"
    assert sink.gaps == 0


def test_wrap():
    """The sequence number wraps in the middle of a segment, and nothing is lost."""
    made, sink = stream(start=0xFFFFFFFE)
    send(made, 0x2, b"ef")
    send(made, 0xFFFFFFFE, b"abcd")
    assert bytes(sink.got) == b"abcdef"


def test_hole_acknowledged():
    """A hole is skipped once the peer has acknowledged past it, and not before."""
    made, sink = stream()
    send(made, 4, b"ef")
    made.acknowledge(3)
    assert sink.got == [None] * 3
    made.acknowledge(6)
    assert sink.got == [None] * 4 + list(b"ef")


def test_late():
    """What was skipped and comes after all fills its hole, once; it is no loss then."""
    made, sink = stream()
    send(made, 0, b"ab")
    send(made, 6, b"gh")
    made.acknowledge(8)
    assert sink.got == [*b"ab", None, None, None, None, *b"gh"]
    for seq, payload in [(4, b"ef"), (2, b"cd"), (4, b"EF"), (0, b"AB")]:
        send(made, seq, payload)
    assert bytes(sink.got) == b"abcdefgh"
    assert (made._budget.lost_bytes, made._budget.retransmitted) == (0, 2)


def test_acknowledged_first():
    """A mirror that shows the acknowledgement before the data loses nothing."""
    made, sink = stream()
    made.acknowledge(4)
    send(made, 0, b"abcd")
    assert bytes(sink.got) == b"abcd"
    assert sink.gaps == 0


def test_unseen_end():
    """What the peer acknowledged and nobody captured is reported at the end; a FIN alone is no loss."""
    made, sink = stream()
    send(made, 0, b"ab")
    made.acknowledge(6)
    made.flush()
    assert sink.got == [*b"ab", None, None, None, None]
    made, sink = stream()
    send(made, 0, b"ab")
    made.acknowledge(3)
    made.flush()
    assert bytes(sink.got) == b"ab"


def test_start_unknown():
    """Without a SYN, pieces that come in reverse are put in order, as soon as the peer acknowledges."""
    made, sink = stream(start=None)
    for seq, payload in [(1004, b"ef"), (1002, b"cd"), (1000, b"ab")]:
        send(made, seq, payload)
    assert sink.got == []
    made.acknowledge(1006)
    assert bytes(sink.got) == b"abcdef"
    assert sink.gaps == 0


def test_start_unknown_one_way():
    """When only one direction is mirrored, nothing waits for ever."""
    made, sink = stream(start=None)
    for n in range(200):
        send(made, 1000 + n, b"x")
    made.flush()
    assert len(sink.got) == 200


def test_snapped():
    """Bytes that a snap length cut are a gap of that length."""
    made, sink = stream()
    send(made, 0, b"ab", missing=3)
    send(made, 5, b"f")
    assert sink.got == [*b"ab", None, None, None, ord("f")]


def test_stray():
    """A segment from nowhere is ignored; two that belong together are a new connection."""
    made, sink = stream()
    send(made, 0, b"ab")
    send(made, 0x40000000, b"??")
    send(made, 2, b"cd")
    assert bytes(sink.got) == b"abcd"
    send(made, 0x50000000, b"12")
    send(made, 0x50000002, b"34")
    assert bytes(sink.got) == b"abcd1234"
    assert sink.gaps == 1


def test_bounded():
    """What is held is bounded for a stream and for all: then the hole is skipped, and counted."""
    budget = Budget(10 * HELD_COST, 1 << 30)
    sink = Bytes()
    made = Stream(sink, budget)
    made.start(0)
    for n in range(1000):
        send(made, 2 + 2 * n, b"x")
        assert budget.held <= 11 * HELD_COST
    assert sink.gaps > 900
    made.flush()
    assert budget.held == 0


@given(st.data())
def test_any_delivery(data):
    """However bytes are cut, ordered, repeated and lost: what comes out is what was sent, in its place."""
    sent = bytes(data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=60)))
    start = data.draw(st.sampled_from([0, 0xFFFFFFF0]))
    piece = st.tuples(st.integers(0, len(sent) - 1), st.integers(1, 20))
    made, sink = stream(start=start)
    seen = set()
    for at, length in data.draw(st.lists(piece, max_size=30)):
        send(made, start + at, sent[at : at + length])
        seen |= set(range(at, min(at + length, len(sent))))
        if data.draw(st.booleans()):
            made.acknowledge(start + data.draw(st.integers(0, len(sent))) & 0xFFFFFFFF)
    made.flush()
    assert all(byte is None or byte == sent[n] for n, byte in enumerate(sink.got))
    assert len(sink.got) <= len(sent)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_shuffled(lengths, random):
    """Whatever order all pieces come in, nothing is lost."""
    sent = bytes(n % 251 for n in range(sum(lengths)))
    pieces, at = [], 0
    for length in lengths:
        pieces.append((at, sent[at : at + length]))
        at += length
    random.shuffle(pieces)
    made, sink = stream(start=0xFFFFFFFA)
    for at, payload in pieces:
        send(made, 0xFFFFFFFA + at, payload)
    assert bytes(sink.got) == sent
    assert sink.gaps == 0
