"""The page that a person reads: report.html."""
