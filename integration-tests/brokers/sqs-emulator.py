# Runs ministack, which keeps its state over an end in good order (PERSIST_STATE), with two changes:
# - SIGUSR1 ends it as suddenly as SIGKILL does, with what it has accepted kept: as SQS, which answers when a message is
#   stored more than once.
# - A request ends with its client. By itself a long poll goes on for its 20 seconds, and takes messages for nobody.
import asyncio
import logging
import os
import signal

from ministack import app
from ministack.core.persistence import save_all


def end_suddenly(*_):
    save_all(app._build_persistence_save_dict())
    os.kill(os.getpid(), signal.SIGKILL)


def ending_with_client(inner):
    async def outer(scope, receive, send):
        if scope["type"] != "http":
            return await inner(scope, receive, send)
        received = asyncio.Queue()
        request = asyncio.create_task(inner(scope, received.get, send))

        async def listen():
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    request.cancel()
                received.put_nowait(event)

        listening = asyncio.create_task(listen())
        await asyncio.wait([request])
        listening.cancel()
        if not request.cancelled():
            request.result()

    return outer


signal.signal(signal.SIGUSR1, end_suddenly)
logging.getLogger("sns").setLevel(logging.WARNING)  # it would tell every message
app.app = ending_with_client(app.app)
app.main()
