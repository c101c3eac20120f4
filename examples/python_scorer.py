"""A scorer in Python's standard library: rewards short answers, and counts forbidden words as cost.

    python3 examples/python_scorer.py 8000
    npm run train -- --set scorer_url=http://127.0.0.1:8000

Port 0 takes a free one. The first line printed is the address.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FORBIDDEN = ("broken", "bare", "quick")


class Scorer(BaseHTTPRequestHandler):
    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):  # /health
        self.answer({"status": "healthy", "device": "python"})

    def do_POST(self):  # /score_batch: one reward and one cost for each response
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({
            "rewards": [1 - len(text) / 100 for text in asked["responses"]],
            "costs": [sum(word in text for word in FORBIDDEN) - 0.5 for text in asked["responses"]],
        })

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Scorer)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
