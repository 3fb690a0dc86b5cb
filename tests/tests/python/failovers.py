"""Writes through Sentinel until standard input ends: failovers.py NAME SENTINEL_PORT...

One client object for the whole time; what it acknowledged is read back through it at the end.
"""

import sys
import threading
import time

import redis
from redis.sentinel import Sentinel

name, *ports = sys.argv[1:]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

sentinel = Sentinel([("127.0.0.1", int(port)) for port in ports], socket_timeout=0.5)
master = sentinel.master_for(name, socket_timeout=0.5, decode_responses=True)

acknowledged, errors, number = [], 0, 0
while not stop.is_set():
    # A number is never used twice: what failed may have been executed all the same.
    number += 1
    try:
        master.set(f"write:{number}", number)
        master.set("progress", number)
    except redis.RedisError:
        errors += 1
        time.sleep(0.01)
        continue
    acknowledged.append(number)
    time.sleep(0.001)

missing = 0
for start in range(0, len(acknowledged), 500):
    batch = acknowledged[start : start + 500]
    found = master.mget([f"write:{n}" for n in batch])
    missing += sum(value != str(n) for n, value in zip(batch, found))
print(f"acknowledged={len(acknowledged)} missing={missing} errors={errors}")
