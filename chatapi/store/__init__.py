"""Every call to MongoDB, one function per question, and no rule of the chat.

Documents go in and out as dictionaries with the field names of the API. Failures of the
database itself leave as pymongo's errors; a broken unique index leaves as `Duplicate`.
"""
