#!/bin/sh
cp --recursive --no-clobber /opt/autoresearch /workspace/
