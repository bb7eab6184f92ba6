"""Storage: records that outlive the process, in SQLite files."""
