"""The only SQL: tables, the write path, reader, history, search, access, audit, migrations."""
