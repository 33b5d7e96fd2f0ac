"""What arrives at once: a tail of the database's changes and a hub that hands them on.

One tail per worker process; nothing here knows Flask, HTTP or who may see what.
"""
