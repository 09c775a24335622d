"""Fault injection: an engine on the real kernel whose process ends by SIGKILL at a chosen durable step.

The engine is the production one, put together with another machine (:mod:`vordr.engine.composition`). Points
are counted while it works: every write of the journal, every method of the world that containers live in, and
every file, folder and process that is made, moved or removed below them. Nobody lists them.
"""
