#!/bin/sh
exec supervisord --configuration /etc/supervisor/supervisord.conf
