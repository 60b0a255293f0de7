"""The command `live`. A verb is a module of `verbs` with NAME, HELP, `arguments` and `run`: one more is one file.

What hosts and people wrote is printed by the rule of `text`; it never controls the terminal.
"""
