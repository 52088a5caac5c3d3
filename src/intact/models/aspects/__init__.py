"""What every operation answers, and what it is asked with: `Op`, and the interfaces of those who ask."""
