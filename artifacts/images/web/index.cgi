#!/bin/sh
# Says which pod answers and where it runs; the variables come from the pod's specification.
printf 'Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
printf 'Hello from Kubernetes on Mesos.\n\n'
printf 'pod     %s\nnode    %s\nregion  %s\nzone    %s\n' \
  "${POD_NAME:-unknown}" "${NODE_NAME:-unknown}" "${REGION:-unknown}" "${ZONE:-unknown}"
