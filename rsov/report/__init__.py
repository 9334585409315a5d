"""What is told about a map: the report, the table of areas, the picture with its legend."""
