"""The door for people: pages, their forms, words, templates and static files.

Never decides about campaigns, and needs no script to be read. Looks into every room of the life.
"""
