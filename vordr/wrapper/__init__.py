"""The gate before other engines' runtime: ``vordr-runtime`` and ``vordr-hook`` (docs/kubernetes.md)."""
