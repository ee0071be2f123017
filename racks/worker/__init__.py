"""Gears in processes of their own: `isolate: process`.

The Rack's side is `Isolated`, a gear like any other to the engine. The other side, `python -m racks.worker`,
builds the real gear and calls it. Both talk over a socket pair (`link`), in frames (`frames`) that are each a
4-byte length and a CBOR array:

| frame | from | means |
|---|---|---|
| `part`, call, port, piece | caller | messages of a call, as a CBOR sequence, before the call itself |
| `call`, call, method, arguments | caller | do this: build, open, run, process, close; the worker's: emit |
| `cancel`, call | caller | the caller was cancelled |
| `out`, call, port, piece | callee | messages that came of a call, before its end |
| `done`, call, error, value | callee | how the call ended |
| `receipt`, call, error | Rack | the receipt of an emit was settled |

Each side numbers its own calls. What a gear remembers outlasts a reconnect, because `close` leaves its worker
be; it goes with the worker.
"""
