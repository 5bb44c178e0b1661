#!/bin/sh
# Starts the services of a pod: nginx, SSH with the user's key, and Jupyter if it has a password.
set -e
[ ! -x /pre_start.sh ] || /pre_start.sh
service nginx start
if [ -n "$PUBLIC_KEY" ]; then
    mkdir -p ~/.ssh
    echo "$PUBLIC_KEY" >>~/.ssh/authorized_keys
    ssh-keygen -A
    service ssh start
fi
[ -z "$JUPYTER_PASSWORD" ] || jupyter lab --allow-root --ip '*' --port 8888 --no-browser --ServerApp.token="$JUPYTER_PASSWORD" &
[ ! -x /post_start.sh ] || /post_start.sh
sleep infinity
