#!/usr/bin/env python
"""Fails unless the server answers."""

import os
import urllib.request

urllib.request.urlopen(f"http://localhost:{os.environ['JUPYTER_PORT']}/api", timeout=1)
