"""How Racks are let in, and put out again.

tokens      join tokens: who may ask
registry    the Racks, their states and keys: who may come in
desk        decides what to answer a Rack that asks
issuer      makes certificates and JWTs
server      takes enrolments over TLS, within limits
operator    what `mixer racks` and `mixer join-token` ask of the running Mixer
service     all of it, as a part of the running Mixer
"""
