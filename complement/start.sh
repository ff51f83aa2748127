#!/bin/sh
# Starts the server inside the image. The container is stopped, committed to an image and started again: the data
# stays in /data.
export HEARTH__SERVER__NAME="$SERVER_NAME"
exec /usr/local/bin/hearth --config /etc/hearth/config.toml
