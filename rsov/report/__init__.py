"""What a run tells: JSON report, tables, quicklook."""
