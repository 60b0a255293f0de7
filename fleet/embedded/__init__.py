"""Real PostgreSQL and Redis from PyPI wheels, for `make demo`, `make test` and `make bench`. Not for production.

Never knows of apps or settings: it starts servers, keeps their files private, and gives their addresses.
"""
