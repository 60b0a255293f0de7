"""The `live` program: launch over the HTTP API, follow, print.

A client like any other: it knows an address and a token, and never looks at the database, the board or a model. It may
look at the ground (`fleet.text`, `fleet.spreadsheets`) alone.
"""
