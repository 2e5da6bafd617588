"""Receive webhooks: believe a request only when its signature holds, and do what it says once.

    pip install tunesmith
    export TUNESMITH_WEBHOOK_SECRET=whsec_…    # of webhooks.create
    python -m examples.webhook_receiver.receive PORT

Answer quickly, and do what takes long elsewhere: what is not answered with 2xx within 10 s is sent again.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from tunesmith import WebhookEvent, WebhookVerificationError, verify_webhook

LARGEST = 1024**2

one_at_a_time = Lock()  # requests come in threads
seen: set[str] = set()  # in earnest a table with a unique column, written in the same transaction as the rest


def act(event: WebhookEvent) -> None:
    """Whatever is to follow."""
    if event.type == "tuning.succeeded":
        print(f"{event.id}: the model {event.data.data['fine_tuned_model']} is ready", flush=True)
    else:
        print(f"{event.id}: {event.type}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if length > LARGEST:
            return self.answer(413)
        body = self.rfile.read(length)  # to the byte, as it came
        try:
            event = verify_webhook(body, self.headers, os.environ["TUNESMITH_WEBHOOK_SECRET"])
        except WebhookVerificationError as error:
            with one_at_a_time:
                print(f"refused: {error}", flush=True)
            return self.answer(400)
        delivery = self.headers["webhook-id"]
        with one_at_a_time:
            if delivery not in seen:
                act(event)
                seen.add(delivery)
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: what was received is printed above."""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.webhook_receiver.receive PORT")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
