"""Django's own PostgreSQL backend, with connections that outlive requests: settings name this package as engine.

Beside it `locks`, which belong to no row.
"""
