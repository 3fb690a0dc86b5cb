"""What applications do with the redis package: commands.py PORT PROTOCOL."""

import sys

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=10)

assert r.ping() is True
assert r.set("greeting", "hello") is True
assert r.get("greeting") == "hello"
assert r.get("absent") is None
assert r.set("greeting", "other", nx=True) is None
assert r.set("volatile", "x", ex=100) is True and 0 < r.ttl("volatile") <= 100
assert r.incrby("counter", 5) == 5 and r.incrbyfloat("float", 0.5) == 0.5
assert r.mset({"a": "1", "b": "2"}) is True and r.mget("a", "b", "absent") == ["1", "2", None]

assert r.rpush("list", "x", "y", "z") == 3 and r.lrange("list", 0, -1) == ["x", "y", "z"]
assert r.sadd("set", "m", "n") == 2 and r.smembers("set") == {"m", "n"}
assert r.sadd("set", "m", "o") == 1 and r.srem("set", "o", "absent") == 1 and r.scard("set") == 2
assert r.sismember("set", "m") == 1 and r.sismember("set", "o") == 0
assert r.lpop("list") == "x" and r.rpop("list", 2) == ["z", "y"] and r.llen("list") == 0
assert r.rpush("list", "x") == 1
assert r.object("encoding", "counter") == "int"
assert sorted(r.scan_iter(match="[ab]")) == ["a", "b"]
assert r.type("set") == "set" and r.type("absent") == "none" and r.dbsize() == 8, r.dbsize()

with r.pipeline(transaction=True) as pipe:
    assert pipe.set("in", "transaction").get("in").incr("counter").execute() == [True, "transaction", 6]
with r.pipeline(transaction=False) as pipe:
    for n in range(1000):
        pipe.set(f"bulk:{n}", n)
    assert pipe.execute() == [True] * 1000
with r.pipeline() as pipe:
    pipe.watch("counter")
    r.set("counter", 1)
    pipe.multi()
    pipe.incr("counter")
    try:
        pipe.execute()
        raise AssertionError("a watched key changed, the transaction ran all the same")
    except redis.WatchError:
        pass

try:
    r.lpush("greeting", "x")
    raise AssertionError("a list operation on a string succeeded")
except redis.ResponseError as error:
    assert str(error).startswith("WRONGTYPE"), error

subscriber = r.pubsub()
subscriber.subscribe("news")
subscriber.psubscribe("new*")
kinds = [subscriber.get_message(timeout=10)["type"] for _ in range(2)]
assert kinds == ["subscribe", "psubscribe"], kinds
assert r.publish("news", "flash") == 2
received = {(m["type"], m["data"]) for m in (subscriber.get_message(timeout=10) for _ in range(2))}
assert received == {("message", "flash"), ("pmessage", "flash")}, received
subscriber.close()

info = r.info()
assert info["role"] == "master" and info["redis_version"].startswith("7."), info
assert r.client_setname("tester") and r.client_getname() == "tester"
assert r.config_get("maxmemory")["maxmemory"] == "0"
print("done")
