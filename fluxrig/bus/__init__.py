"""The NATS side: servers, connections, streams. The one place where NATS is spoken."""
