"""A stand-in for Mesos-DNS: same `config.json`, records and HTTP API; CoreDNS serves the zone."""
