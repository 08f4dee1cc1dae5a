"""Reports as one HTML page: sections, charts, embedded audio."""
