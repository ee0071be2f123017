"""`fluxrig demo`: the whole path on one machine, in real processes, with an outage and a ledger.

plant.py    a press behind a Modbus TCP server (a process of its own)
scada.py    a SCADA station that polls the press (a process of its own)
record.py   makes scada.pcap, what is replayed where capturing is not allowed
capture.py  live or replay, and the Rack file that says so
children.py starts processes, watches them, ends them
story.py    what happens when: start, run, outage, drain, count
view.py     what the terminal shows meanwhile
ledger.py   accepted against stored, by sequence number
evidence.py what Parquet says
closing.py  what is shown, or given as JSON, at the end
command.py  the command line
"""
