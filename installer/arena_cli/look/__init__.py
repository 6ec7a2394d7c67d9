"""What jobs look like: from the API's objects to rows, tables and JSON. Pure."""
