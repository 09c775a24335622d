"""Makes what tests of several folders share (memory_engine) importable by its name."""
