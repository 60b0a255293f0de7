"""The tests: real Postgres, real Redis, real processes where they matter."""
