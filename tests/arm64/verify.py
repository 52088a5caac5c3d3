"""Prints the verdicts of a file of receipts as JSON: `verify.py MODEL RECEIPTS`."""

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import intact
from intact.receipts.document import read_receipts
from intact.receipts.verify import verify

model = intact.load(sys.argv[1], threads=2)
verdicts = [asdict(verdict) for verdict in verify(model, read_receipts(Path(sys.argv[2])))]
print(json.dumps({"machine": platform.machine(), "verdicts": verdicts}))
