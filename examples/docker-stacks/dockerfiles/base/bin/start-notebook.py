#!/usr/bin/env python
"""Starts JupyterLab, or the server that JupyterHub asks for."""

import os
import sys

program = ["jupyterhub-singleuser"] if "JUPYTERHUB_API_TOKEN" in os.environ else ["jupyter", "lab"]
os.execvp(program[0], [*program, *sys.argv[1:]])
