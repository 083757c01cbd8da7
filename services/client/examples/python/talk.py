"""A server of one's own in Python talks in a room: makes it, follows it, says
something, hears it, and reads it back.

    pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I ../../../../proto --python_out=. --grpc_python_out=. \\
        mingle/chat/v1/chat.proto
    python talk.py 127.0.0.1:50051
"""

import os
import queue
import sys
import uuid

import grpc
from mingle.chat.v1 import chat_pb2 as chat
from mingle.chat.v1.chat_pb2_grpc import ChatServiceStub

ROBOT = "robot"
SECONDS = 10

token = os.environ.get("MINGLE_INTERNAL_TOKEN")
metadata = [("authorization", f"Bearer {token}")] if token else []


def main(target):
    service = ChatServiceStub(grpc.insecure_channel(target))

    def ask(method, request):
        return method(request, metadata=metadata, timeout=SECONDS)

    # The actor is the user on whose behalf a server asks. The external id makes
    # it the same room each time.
    made = ask(service.CreateRoom, chat.CreateRoomRequest(
        actor=ROBOT, kind=chat.ROOM_KIND_CHANNEL, name="lobby", external_id="lobby"))
    room = made.room.room_id
    print("room", room)

    requests = queue.SimpleQueue()
    envelopes = service.Subscribe(iter(requests.get, None), metadata=metadata)
    requests.put(chat.SubscribeRequest(add=chat.RoomIds(room_ids=[room])))
    head = next(envelopes).opened.head  # what comes after it is heard
    print("following from", head.seq)

    # Asked again with the same key, it is said once.
    said = ask(service.Send, chat.SendRequest(
        actor=ROBOT, room_id=room, client_msg_id=uuid.uuid4().hex, body="hello from Python"))
    for envelope in envelopes:
        heard = [event.message for event in envelope.events.events if event.WhichOneof("kind") == "message"]
        if any(message.message_id == said.message_id for message in heard):
            print("heard", said.seq)
            break
    envelopes.cancel()

    history = ask(service.History, chat.HistoryRequest(actor=ROBOT, room_id=room, limit=10))
    for message in history.messages:
        print(message.seq, message.sender_id, message.body)

    try:
        ask(service.Send, chat.SendRequest(actor=ROBOT, room_id=room, body="no key"))
    except grpc.RpcError as error:
        print("refused", error.code().name, error.details())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
