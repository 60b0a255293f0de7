"""What those who run the server ask of it: figures of the whole installation for monitors, and `manage.py doctor`.

Looks everywhere and changes nothing: what is to be mended it says, and a person does it. Nothing imports this room but
the joints and the commands.
"""
