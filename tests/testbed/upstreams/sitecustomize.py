"""Packages live in site-packages, as in Python's own build. Debian's `site` knows dist-packages only, and is frozen into its binary."""

import os
import site
import sys


def getsitepackages(prefixes=None):
    folder = os.path.join("lib", "python%d.%d" % sys.version_info[:2], "site-packages")
    return [os.path.join(prefix, folder) for prefix in dict.fromkeys(prefixes or site.PREFIXES)]


site.getsitepackages = getsitepackages
for directory in getsitepackages():
    if os.path.isdir(directory) and directory not in sys.path:
        site.addsitedir(directory)
