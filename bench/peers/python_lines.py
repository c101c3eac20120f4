"""What the Python peers share: lines of JSON on stdin and stdout. Whatever else is printed goes to stderr."""
import json
import os
import sys

REMEDY = "pip install -r test/golden/make/requirements.txt, or name another Python with --python"
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(**line):
    _answers.write(json.dumps(line) + "\n")
    _answers.flush()


def lack(error):
    """Says which package is missing, and ends."""
    answer(error=f"Python lacks a package: {error}; {REMEDY}")
    sys.exit(0)


def asked():
    """The next request; None once nobody asks any more."""
    line = sys.stdin.readline()
    return json.loads(line) if line else None
