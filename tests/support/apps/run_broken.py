"""Cannot be imported."""

raise LookupError("the database is away")
