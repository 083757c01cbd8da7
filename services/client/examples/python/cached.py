"""A server of one's own in Python keeps what is dear to compute in the cache: of all its
callers, in all of its processes, one loads.

    pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I ../../../../proto --python_out=. --grpc_python_out=. \\
        mingle/cache/v1/cache.proto
    python cached.py 127.0.0.1:50051
"""

import json
import logging
import os
import sys
import threading

import grpc
from mingle.cache.v1 import cache_pb2 as cache
from mingle.cache.v1.cache_pb2_grpc import CacheServiceStub

NAMESPACE = "default"
log = logging.getLogger("cache")
WAIT_MS = 5_000
REFUSED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
# What an answer may take beside another's load.
SECONDS = 1

token = os.environ.get("MINGLE_INTERNAL_TOKEN")
metadata = [("authorization", f"Bearer {token}")] if token else []


def kept(value):
    return None if value.absent else json.loads(value.data)


def get_or_load(service, key, tags, loader):
    """The value of a key, from the cache or from `loader`."""

    def ask(method, request):
        return method(request, metadata=metadata, timeout=SECONDS + WAIT_MS / 1000)

    def give_up():
        try:
            ask(service.Fill, cache.FillRequest(namespace=NAMESPACE, lease=lease, entry=cache.Entry(key=key), load_failed=True))
        except grpc.RpcError:
            pass  # The lease ends by itself.

    try:
        read = ask(service.Get, cache.GetRequest(namespace=NAMESPACE, key=key, tags=tags, wait_ms=WAIT_MS))
    except grpc.RpcError as error:
        tell(error)
        return loader()  # A cache is never why a value is not there.
    lease = read.lease.token
    if not lease:
        return kept(read.value) if read.HasField("value") else loader()
    fill = cache.FillRequest(namespace=NAMESPACE, lease=lease, entry=cache.Entry(key=key, tags=tags))
    try:
        value = loader()
    except Exception:
        give_up()
        if not read.HasField("value"):
            raise
        return kept(read.value)  # Stale, and better than nothing.
    fill.entry.value.data = json.dumps(value).encode()
    fill.entry.value.content_type = "application/json"
    try:
        ask(service.Fill, fill)
    except grpc.RpcError as error:
        if tell(error):  # Nobody is to wait for what is not taken.
            give_up()
    return value


def tell(error):
    """True of what is refused however often it is asked; the rest ends by itself."""
    refused = error.code() in REFUSED
    if refused:
        log.warning("the cache refuses: %s %s", error.code().name, error.details())
    return refused


def main(target):
    service = CacheServiceStub(grpc.insecure_channel(target))
    loads = []

    def profile():
        loads.append(1)
        return {"name": "Ann", "loads": len(loads)}

    def read():
        return get_or_load(service, "profile:ann", ["user:ann"], profile)

    many = [threading.Thread(target=read) for _ in range(50)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    print("read by", len(many), "loaded", len(loads))
    invalidate = cache.InvalidateTagRequest(namespace=NAMESPACE, tag="user:ann")
    done = service.InvalidateTag(invalidate, metadata=metadata, timeout=SECONDS)
    print(cache.Applied.Name(done.applied))
    print("loaded anew", read())

    try:
        service.Get(cache.GetRequest(namespace=NAMESPACE), metadata=metadata, timeout=SECONDS)
    except grpc.RpcError as error:
        print("refused", error.code().name, error.details())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
