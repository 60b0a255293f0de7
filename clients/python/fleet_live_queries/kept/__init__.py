"""What people keep on a server, saved queries and labels by SQL, as files in a repository: reviewed there like code.

Files are found by the name that stands in them, never by their own; what is the same is left as it was written, with
its comments. Talks to the API alone, through whatever asks it (`Api`), and knows nothing else of the server.
"""
