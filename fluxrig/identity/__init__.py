"""Who is who on the Snake: keys, signed claims, certificates. No network, no policy; the Mixer decides.

nkey            NATS's Ed25519 keys, one kind each for operators, accounts and users
jwt             NATS's signed claims: what an operator, an account, a user may do
certificates    X.509: the Mixer's authority, what it issues to Racks and to its own servers
"""
