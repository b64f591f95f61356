#!/usr/bin/env python3
"""chart.py: the Helm chart, by real helm and kubectl and before a real API server. Run by `make test-chart`.

`chart.py Rendered` needs no API server."""

import sys
import unittest

from rendered import Rendered
from served import Served

__all__ = ["Rendered", "Served"]

if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
