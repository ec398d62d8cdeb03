"""The report's page and the search in the web UI: pictures, tables, results."""
