"""The service: the engine behind a unix socket, kept alive by systemd or by its own keeper."""
