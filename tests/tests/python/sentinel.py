"""Through Sentinel, as the redis package does it: sentinel.py NAME MASTER_PORT SENTINEL_PORT..."""

import sys
import time

from redis.sentinel import Sentinel

name, master_port, *sentinel_ports = sys.argv[1:]
sentinel = Sentinel([("127.0.0.1", int(port)) for port in sentinel_ports], socket_timeout=10)

assert sentinel.discover_master(name) == ("127.0.0.1", int(master_port))
replicas = sentinel.discover_slaves(name)
assert len(replicas) == 2 and ("127.0.0.1", int(master_port)) not in replicas, replicas

master = sentinel.master_for(name, decode_responses=True)
replica = sentinel.slave_for(name, decode_responses=True)
assert master.set("greeting", "hello") is True
assert master.wait(2, 10_000) == 2
assert replica.get("greeting") == "hello"
assert master.info("replication")["role"] == "master"
assert replica.info("replication")["role"] == "slave"

states = sentinel.sentinels[0].sentinel_masters()
assert states[name]["port"] == int(master_port) and states[name]["is_master"], states
# Not sentinel_ckquorum(), which takes anything but a bare OK for a failure.
quorum = sentinel.sentinels[0].execute_command("SENTINEL", "CKQUORUM", name)
assert quorum.startswith(b"OK 3 usable Sentinels"), quorum

# The same client object goes on after a failover, without being told.
assert sentinel.sentinels[0].sentinel_failover(name)
deadline = time.monotonic() + 40
while True:
    try:
        if sentinel.discover_master(name)[1] != int(master_port) and master.set("greeting", "again"):
            break
    except Exception as error:  # noqa: BLE001 - whatever it is, it has to pass before the deadline
        if time.monotonic() > deadline:
            raise
        print("not yet:", error)
    assert time.monotonic() < deadline, "no failover"
    time.sleep(0.05)
assert master.get("greeting") == "again"
print("done")
