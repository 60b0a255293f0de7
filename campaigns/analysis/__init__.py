"""Answers as tables that people ask in SQL: columnar copies, the process that reads them, and what is asked of them.

Never runs a person's SQL in PostgreSQL or in a process that holds anything but the data of that question. Looks into
`campaigns.collecting` and the ground; what shows answers looks into it.
"""
